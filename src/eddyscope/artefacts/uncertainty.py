"""How far a mean over test members and repeated trainings can be trusted: the bootstrap.

A metric's values are a table V (repeat, member). A draw resamples members and repeats with
replacement, each axis by itself (crossed: Owen, Ann. Appl. Stat. 1, 386, 2007), and takes the mean:
Σ w_r V_rm w_m with w = counts / n. All models have the same draws, so that differences are paired:
what is hard in a member is hard for all models, and drops out.

With few members plain draws are too narrow. So each axis' weights are widened about 1/n by
t / z · √(n/(n−1)), t and z being the 97.5 % points of Student's distribution with n−1 degrees of
freedom and of the normal one (after Hesterberg, Am. Stat. 69, 371, 2015): then 95 % is 95 % for
values that are about normal. Weights may then be negative; means stay linear in them.

An axis of fewer than three is not resampled: what is said then holds for these members, or these
trainings, alone. Where neither has three, nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from eddyscope.config.arrays import BoolArray, FloatArray
from eddyscope.config.streams import stream

__all__ = [
    "ENOUGH",
    "FEWEST",
    "Order",
    "Resampled",
    "alike",
    "bounds",
    "draws",
    "order",
    "paired",
    "rank_correlations",
    "resampled",
    "tied",
    "tied_groups",
    "tied_with",
]

DRAWS = 2000
"""Bootstrap draws of an interval."""
FEWEST = 3
"""Members, or repeats, that can be resampled."""
ENOUGH = 5
"""Members from which on intervals are no longer called rough."""
SHARE = 0.95
"""Of draws that lie within an interval."""
NORMAL = 1.959963984540054
"""97.5 % point of the normal distribution."""
ALIKE = 1e-9
"""Relative difference below which two errors are the same: that of rounding."""

Resampled = Literal["", "members", "repeats", "members and repeats"]
"""What was resampled; empty where neither could be."""

AXES = {"repeats": 0, "members": 1}
"""What is resampled -> its axis."""


@dataclass(frozen=True)
class Order:
    """Ranks of layers over draws; layers of equal errors share the first of their places."""

    names: tuple[str, ...]
    probabilities: FloatArray
    """(layer, rank): share of draws in which a layer has a rank; rank 1 is the least error."""

    @property
    def expected(self) -> FloatArray:
        """Mean rank, (layer,)."""
        return np.asarray(self.probabilities @ np.arange(1.0, len(self.names) + 1))


def resampled(values: FloatArray) -> Resampled:
    """What of a table (repeat, member) can be resampled."""
    repeats, members = (size >= FEWEST for size in values.shape)
    if members:
        return "members and repeats" if repeats else "members"
    return "repeats" if repeats else ""


def draws(values: FloatArray) -> FloatArray:
    """Mean of a table (repeat, member) in each draw, (draw,); the same draws for all tables of a
    shape. A table that is not finite has NaN."""
    if not np.isfinite(values).all():
        return np.full(DRAWS, np.nan)
    of_repeats, of_members = (
        _weights(name, size) for name, size in zip(AXES, values.shape, strict=True)
    )
    return np.asarray(((of_repeats @ values) * of_members).sum(axis=1))


def bounds(drawn: FloatArray) -> tuple[float, float] | None:
    """Ends of the 95 % interval of what was drawn; None where it is not finite."""
    if not np.isfinite(drawn).all():
        return None
    low, high = np.quantile(drawn, [(1.0 - SHARE) / 2.0, (1.0 + SHARE) / 2.0])
    return float(low), float(high)


def paired(left: FloatArray, right: FloatArray) -> FloatArray:
    """Draws of the difference of two means, left - right, tables (repeat, member) of the same
    members: both have the same draws, also of repeats where they have as many."""
    return draws(left) - draws(right)


def tied(left: FloatArray, right: FloatArray) -> bool:
    """Whether two models cannot be told apart: they are equal, or the interval of their paired
    difference includes 0. Where nothing can be resampled, only equals are tied."""
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return False
    if alike(left, right):
        return True
    if not (resampled(left) or resampled(right)):
        return False
    ends = bounds(paired(left, right))
    return ends is not None and ends[0] <= 0.0 <= ends[1]


def alike(left: FloatArray, right: FloatArray) -> bool:
    """Whether two tables have the same mean, but for rounding."""
    first, second = float(left.mean()), float(right.mean())
    return abs(first - second) <= ALIKE * max(abs(first), abs(second))


def tied_with(errors: Mapping[str, FloatArray], best: str) -> list[str]:
    """Models that are tied with one of them; errors: model -> table (repeat, member)."""
    return [n for n, values in errors.items() if n != best and tied(values, errors[best])]


def tied_groups(errors: Mapping[str, FloatArray]) -> list[list[str]]:
    """Models by their mean error, the least first, in groups: each has what is tied with its first.

    errors: model -> table (repeat, member). Ties are not transitive; the first of a group is the
    one that the others are compared with."""
    left = sorted(errors, key=lambda name: (_or_last(float(errors[name].mean())), name))
    groups = []
    while left:
        first = left[0]
        group = [n for n in left if n == first or tied(errors[n], errors[first])]
        left = [name for name in left if name not in group]
        groups.append(group)
    return groups


def order(errors: Mapping[str, FloatArray]) -> Order | None:
    """Ranks of models over draws of their tables (repeat, member); None where nothing can be
    resampled. One whose error is not finite comes last."""
    if not any(resampled(values) for values in errors.values()):
        return None
    table = _stacked({name: draws(values) for name, values in errors.items()})
    ranks = 1 + _below(table).sum(axis=2)
    places = np.arange(1, len(errors) + 1)
    shares = (ranks[:, :, None] == places).mean(axis=0)
    return Order(tuple(errors), np.asarray(shares))


def rank_correlations(left: FloatArray, right: FloatArray) -> FloatArray:
    """Spearman's ρ of the rows of two tables (draw, layer), equals with their mean rank; NaN where
    one side is all equal."""
    a, b = (_mean_ranks(table) for table in (left, right))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray(
        np.divide((a * b).sum(axis=1), scale, out=np.full(len(a), np.nan), where=scale > 0)
    )


def _mean_ranks(table: FloatArray) -> FloatArray:
    below = _below(table)
    # Each layer is equal to itself, which makes up for counting from 1.
    equal = ~(below | below.transpose(0, 2, 1))
    return np.asarray(below.sum(axis=2) + (equal.sum(axis=2) + 1) / 2.0)


def _below(table: FloatArray) -> BoolArray:
    """(draw, layer, other): whether the other's value is less."""
    mine, other = table[:, :, None], table[:, None, :]
    both = np.where(np.isfinite(mine), np.abs(mine), 0.0)
    return np.asarray(other < mine - ALIKE * both)


def _stacked(drawn: Mapping[str, FloatArray]) -> FloatArray:
    """(draw, model); what is not finite is the largest."""
    table = np.stack(list(drawn.values()), axis=1)
    return np.where(np.isfinite(table), table, np.inf)


@cache
def _weights(axis: str, count: int) -> FloatArray:
    """Weights of the draws, (draw, count)."""
    even = np.full((DRAWS, count), 1.0 / count)
    if count < FEWEST:
        return even
    generator = stream("bootstrap", AXES[axis], count)
    counts = generator.multinomial(count, np.full(count, 1.0 / count), size=DRAWS)
    return np.asarray(even + _widening(count) * (counts / count - even))


def _widening(count: int) -> float:
    """t / z · √(n/(n−1)); t by its expansion (Abramowitz and Stegun 26.7.5), to 1 %."""
    z, nu = NORMAL, count - 1
    t = (
        z
        + (z**3 + z) / (4.0 * nu)
        + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * nu**2)
        + (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / (384.0 * nu**3)
        + (79.0 * z**9 + 776.0 * z**7 + 1482.0 * z**5 - 1920.0 * z**3 - 945.0 * z)
        / (92160.0 * nu**4)
    )
    return t / z * math.sqrt(count / nu)


def _or_last(value: float) -> float:
    return value if math.isfinite(value) else math.inf
