"""The card of a ranking, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from eddyscope.advisor.score_card import card_of, controls, measured, measured_ranking

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
        assert (card["spearman"], card["regret_mse"], card["regret_spectrum"]) == (None, 0.0, 0.0)
        assert card["first_is_tied"] == 1.0


def test_no_regret_over_an_error_of_zero():
    errors = {"l01": 0.0, "l02": 0.2}
    assert card_of(apart("l02", "l01"), errors, errors)["regret_mse"] is None
    assert card_of(apart("l01", "l02"), errors, errors)["regret_mse"] == 0.0


def test_one_layer():
    card = card_of(apart("l01"), {"l01": 0.2}, {"l01": 0.1})
    assert (card["spearman"], card["regret_mse"], card["regret_spectrum"]) == (None, 0.0, 0.0)
    assert (card["spearman_low"], card["regret_low"]) == (None, None), "nothing was drawn"


HARD = np.array([[0.25, 0.35, 0.3, 0.4, 0.2]])
"""How hard five members are."""
NOISE = np.array([[0.02, -0.02, 0.01, -0.02, 0.011]])
TABLES = {
    "l01": HARD,
    "l02": HARD + NOISE,
    "l03": HARD + 0.1,
    "l04": HARD + 0.1 + np.roll(NOISE, 2),
}
"""The first two are tied, and the last two."""
MEANS = {name: float(table.mean()) for name, table in TABLES.items()}


def test_tied_layers_share_their_rank():
    order = measured(TABLES)
    assert [sorted(group) for group in order.groups] == [["l01", "l02"], ["l03", "l04"]]
    right = [["l02", "l01"], ["l03", "l04"]]
    assert card_of(right, MEANS, MEANS, order)["spearman"] == pytest.approx(1.0)
    card = card_of(apart("l02", "l01", "l04", "l03"), MEANS, MEANS, order)
    assert card["spearman"] == pytest.approx(4 / 20**0.5)
    assert card["first_is_tied"] == 1.0
    assert card_of(apart("l03", "l01", "l04", "l02"), MEANS, MEANS, order)["first_is_tied"] == 0.0


def test_correlation_and_regret_have_intervals_over_draws():
    order = measured(TABLES)
    card = card_of(apart("l02", "l01", "l04", "l03"), MEANS, MEANS, order)
    assert card["spearman_low"] is not None and card["spearman_high"] is not None
    assert (card["spearman_low"], card["spearman_high"]) == pytest.approx((0.6, 1.0))
    assert card["regret_low"] is not None and card["regret_high"] is not None
    assert card["regret_low"] <= card["regret_mse"] <= card["regret_high"]
    assert card["regret_low"] < 0.0 < card["regret_high"], "tied"
    worst = card_of(apart("l03", "l01", "l02", "l04"), MEANS, MEANS, order)
    assert worst["regret_low"] is not None and worst["regret_low"] > 0.2
    for control in controls(MEANS, MEANS, order).values():
        assert control["regret_low"] is not None


def test_two_draws_agree_as_far_as_layers_can_be_told_apart():
    ceiling = measured(TABLES).ceiling
    assert ceiling is not None
    assert 0.7 < ceiling < 0.9, "halves are in order, the order within a half is by chance"
    clear = measured({name: HARD + 0.1 * place for place, name in enumerate(TABLES)})
    assert clear.ceiling == pytest.approx(1.0)
    assert measured(dict.fromkeys(TABLES, HARD)).ceiling is None
    assert measured({name: table[:, :2] for name, table in TABLES.items()}).ceiling is None


def test_a_layer_that_blew_up_is_last():
    assert measured_ranking({"l01": math.nan, "l02": 0.3, "l03": math.inf}) == ["l02", "l01", "l03"]
