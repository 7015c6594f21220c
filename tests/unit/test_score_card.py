"""The card of a ranking, by hand."""

from __future__ import annotations

import pytest
from scipy.stats import spearmanr

from eddyscope.advisor.score_card import card_of, controls, measured_ranking, spearman

ERRORS = {"l01": 0.3, "l02": 0.2, "l03": 0.4}
SPECTRA = {"l01": 0.1, "l02": 0.15, "l03": 0.3}


def test_card_by_hand():
    assert measured_ranking(ERRORS) == ["l02", "l01", "l03"]
    card = card_of(["l01", "l02", "l03"], ERRORS, SPECTRA)
    assert card["spearman"] == pytest.approx(0.5)
    assert card["regret_mse"] == pytest.approx(0.5)
    assert card["regret_spectrum"] == 0.0
    assert card_of(["l02", "l01", "l03"], ERRORS, SPECTRA)["regret_spectrum"] == pytest.approx(0.5)


def test_layers_not_measured_are_left_out():
    assert card_of(["l09", "l02", "l01", "l03"], ERRORS, SPECTRA)["spearman"] == 1.0


def test_controls():
    found = controls(ERRORS, SPECTRA)
    assert found["first_layer"]["regret_mse"] == pytest.approx(0.5)
    assert found["last_layer"]["regret_mse"] == pytest.approx(1.0)
    assert found["random"]["regret_mse"] == pytest.approx(0.5)


def test_spearman_agrees_with_scipy(rng):
    names = [f"l{i:02d}" for i in range(1, 12)]
    for _ in range(5):
        a, b = rng.permutation(11), rng.permutation(11)
        ours = spearman([names[i] for i in a], [names[i] for i in b])
        theirs = spearmanr(a.argsort(), b.argsort()).statistic
        assert ours == pytest.approx(theirs)
    assert spearman(["l01"], ["l01"]) is None
