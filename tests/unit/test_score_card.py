"""The card of a ranking, by hand."""

from __future__ import annotations

import pytest
from scipy.stats import spearmanr

from eddyscope.advisor.score_card import card_of, controls, measured_ranking

ERRORS = {"l01": 0.3, "l02": 0.2, "l03": 0.4}
SPECTRA = {"l01": 0.1, "l02": 0.15, "l03": 0.3}


def apart(*names: str) -> list[list[str]]:
    """A ranking without ties."""
    return [[name] for name in names]


def test_card_by_hand():
    assert measured_ranking(ERRORS) == ["l02", "l01", "l03"]
    card = card_of(apart("l01", "l02", "l03"), ERRORS, SPECTRA)
    assert card["spearman"] == pytest.approx(0.5)
    assert card["regret_mse"] == pytest.approx(0.5)
    assert card["regret_spectrum"] == 0.0
    other = card_of(apart("l02", "l01", "l03"), ERRORS, SPECTRA)
    assert other["regret_spectrum"] == pytest.approx(0.5)


def test_layers_not_measured_are_left_out():
    ranking = [["l09", "l02"], ["l08"], ["l01"], ["l03"]]
    assert card_of(ranking, ERRORS, SPECTRA)["spearman"] == pytest.approx(1.0)


def test_controls():
    found = controls(ERRORS, SPECTRA)
    assert found["first_layer"]["regret_mse"] == pytest.approx(0.5)
    assert found["last_layer"]["regret_mse"] == pytest.approx(1.0)
    assert found["random"]["regret_mse"] == pytest.approx(0.5)
    assert found["random"]["spearman"] == 0.0


def test_spearman_agrees_with_scipy(rng):
    names = [f"l{i:02d}" for i in range(1, 12)]
    for _ in range(5):
        ranks, errors = rng.integers(0, 5, 11), rng.random(11)
        groups = [[n for n, r in zip(names, ranks, strict=True) if r == k] for k in range(5)]
        by_name = dict(zip(names, errors, strict=True))
        found = card_of(groups, by_name, by_name)
        assert found["spearman"] == pytest.approx(spearmanr(ranks, errors).statistic)


def test_equals_are_no_order():
    whole = [["l01", "l02", "l03"]]
    card = card_of(whole, ERRORS, SPECTRA)
    assert card["spearman"] is None
    assert card["regret_mse"] == pytest.approx((1.5 + 1.0 + 2.0) / 3 - 1.0)
    first = card_of([["l02", "l01"], ["l03"]], ERRORS, SPECTRA)
    assert first["spearman"] == pytest.approx(3**0.5 / 2)
    assert first["regret_mse"] == pytest.approx(0.25)


@pytest.mark.parametrize("error", [0.0, 0.3])
def test_identical_errors(error: float):
    errors = dict.fromkeys(ERRORS, error)
    alone = card_of(apart("l03", "l02", "l01"), errors, errors)
    for card in (alone, *controls(errors, errors).values()):
        assert card == {"spearman": None, "regret_mse": 0.0, "regret_spectrum": 0.0}


def test_no_regret_over_an_error_of_zero():
    errors = {"l01": 0.0, "l02": 0.2}
    assert card_of(apart("l02", "l01"), errors, errors)["regret_mse"] is None
    assert card_of(apart("l01", "l02"), errors, errors)["regret_mse"] == 0.0


def test_one_layer():
    card = card_of(apart("l01"), {"l01": 0.2}, {"l01": 0.1})
    assert card == {"spearman": None, "regret_mse": 0.0, "regret_spectrum": 0.0}
