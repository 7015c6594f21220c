"""Intervals, paired differences and ranks: of data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, spearmanr
from scipy.stats import t as student

from eddyscope.artefacts import uncertainty
from eddyscope.artefacts.uncertainty import (
    bounds,
    draws,
    order,
    paired,
    rank_correlations,
    resampled,
    tied,
    tied_groups,
    tied_with,
)


def width(drawn):
    low, high = bounds(drawn)
    return high - low


@pytest.mark.parametrize(("repeats", "members"), [(1, 3), (1, 8), (2, 8), (8, 1), (4, 8)])
def test_the_interval_holds_the_true_mean_in_95_of_100_cases(repeats, members):
    """200 cases: 95 % to within 4.5 % is three standard deviations of such a count. Crossed draws
    count what is of one member in one repeat three times, and are the wider for it."""
    generator = np.random.default_rng(repeats * 100 + members)
    held = 0
    for _ in range(200):
        of_member = 0.2 * generator.standard_normal(members) * (members >= 3)
        of_repeat = 0.2 * generator.standard_normal((repeats, 1)) * (repeats >= 3)
        both = 0.05 * generator.standard_normal((repeats, members))
        low, high = bounds(draws(1.0 + of_member + of_repeat + both))
        held += low <= 1.0 <= high
    assert 0.905 <= held / 200 <= (1.0 if repeats >= 3 <= members else 0.995)


def test_the_interval_is_students_where_members_are_normal():
    """Mean over cases of half the width, against t·s/√n."""
    generator = np.random.default_rng(3)
    for members in (5, 12):
        cases = generator.standard_normal((100, 1, members))
        found = np.mean([width(draws(values)) / 2.0 for values in cases])
        exact = student.ppf(0.975, members - 1) * cases.std(axis=2, ddof=1).mean() / members**0.5
        assert found == pytest.approx(exact, rel=0.04)


def test_the_widening_is_that_of_student():
    for count in (3, 4, 5, 8, 20):
        exact = student.ppf(0.975, count - 1) / norm.ppf(0.975) * (count / (count - 1)) ** 0.5
        assert uncertainty._widening(count) == pytest.approx(exact, rel=0.01)


def test_paired_differences_are_tight_where_members_differ():
    generator = np.random.default_rng(5)
    hard = np.linspace(0.2, 0.6, 6)
    left = 0.30 * hard + 0.002 * generator.standard_normal((1, 6))
    right = 0.32 * hard + 0.002 * generator.standard_normal((1, 6))
    apart = (width(draws(left)) ** 2 + width(draws(right)) ** 2) ** 0.5
    assert width(paired(left, right)) < 0.15 * apart
    assert not tied(left, right)
    assert bounds(draws(left))[1] > bounds(draws(right))[0], "unpaired, nothing could be said"


def test_equals_are_tied_and_share_their_rank():
    values = np.array([[0.2, 0.3, 0.5]])
    errors = {"l01": values + 0.1, "l02": values, "l03": values.copy()}
    found = order(errors)
    assert found.probabilities.tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0]]
    assert found.expected.tolist() == [3, 1, 1]
    assert tied_with(errors, "l02") == ["l03"]
    assert tied_groups(errors) == [["l02", "l03"], ["l01"]]


def test_a_lead_on_all_members_is_a_lead_and_a_lead_on_one_is_none():
    base = np.array([[0.30, 0.35, 0.28, 0.40, 0.33]])
    errors = {
        "l01": base + np.array([0.010, 0.011, 0.009, 0.012, 0.010]),
        "l02": base,
        "l03": base + np.array([0.010, -0.010, 0.012, -0.009, 0.001]),
    }
    assert tied_with(errors, "l02") == ["l03"]
    assert tied_groups(errors) == [["l02", "l03"], ["l01"]]
    found = order(errors)
    chance = dict(zip(found.names, found.probabilities[:, 0], strict=True))
    assert 0.5 < chance["l02"] < 0.8 and chance["l01"] < 0.01
    assert chance["l02"] + chance["l03"] + chance["l01"] == pytest.approx(1.0)


@pytest.mark.parametrize(("shape", "of"), [
    ((1, 1), ""), ((2, 2), ""), ((1, 3), "members"), ((3, 2), "repeats"),
    ((3, 3), "members and repeats"),
])  # fmt: skip
def test_what_is_resampled_is_said(shape, of):
    values = np.random.default_rng(1).random(shape)
    assert resampled(values) == of
    found = order({"l01": values, "l02": values + 1.0})
    assert (found is None) == (of == "")
    # An axis that is not resampled adds no spread.
    flat = np.broadcast_to(values.mean(axis=0), shape) if of == "repeats" else values
    assert width(draws(flat)) > 1e-3 or of in ("", "repeats")


def test_too_few_tell_equals_alone():
    values = np.array([[0.3, 0.5]])
    assert tied(values, values + 1e-14)
    assert not tied(values, values + np.array([0.1, -0.09]))


def test_a_model_that_blew_up_comes_last():
    good, bad = np.array([[0.3, 0.4, 0.2]]), np.array([[0.3, np.inf, np.nan]])
    assert bounds(draws(bad)) is None
    found = order({"l01": bad, "l02": good})
    assert found.expected.tolist() == [2, 1]
    assert not tied(bad, good) and tied_groups({"l01": bad, "l02": good}) == [["l02"], ["l01"]]


def test_the_same_draws_every_time():
    values = np.random.default_rng(2).random((3, 4))
    first = draws(values)
    uncertainty._weights.cache_clear()
    assert (draws(values) == first).all()


def test_rank_correlations_are_scipys():
    generator = np.random.default_rng(7)
    left = generator.integers(0, 4, (20, 6)).astype(float)
    right = generator.random((20, 6))
    right[:, 1] = right[:, 0]
    found = rank_correlations(left, right)
    exact = [spearmanr(a, b).statistic for a, b in zip(left, right, strict=True)]
    assert found == pytest.approx(exact)
    assert np.isnan(rank_correlations(np.ones((1, 3)), right[:1, :3])).all()
