"""How many steps lead from one mark in time to the next.

The largest velocity that decides it is the maximum over all ranks and members, which does
not depend on how they are laid out; so neither do the steps.
"""

from __future__ import annotations

import math
from typing import Protocol

from eddyscope.flows.base import Flow

__all__ = ["CflPace", "FixedPace", "Pace", "cfl_limit", "stable_step"]

GROWTH = 1.1
"""How far the velocity may outgrow the step within an interval before it is divided anew; with
cfl = 0.5, the largest allowed, such a step is stable still: 1.1 · 0.5 < √3/π."""


class Pace(Protocol):
    def divide(self, mark: int, span: float, fastest: float, dt_before: float) -> tuple[int, float]:
        """Steps over `span`, the time left to the mark after `mark`, and their length.

        `dt_before` is the last step's length, 0 at the start of a run.
        """

    def too_fast(self, dt: float, fastest: float) -> bool:
        """Whether what is left of the interval should be divided anew."""


class FixedPace:
    """The same steps, whatever happens."""

    def __init__(self, steps: tuple[int, ...], dt: float):
        self._steps = steps
        self._dt = dt

    def divide(self, mark: int, span: float, fastest: float, dt_before: float) -> tuple[int, float]:
        return self._steps[mark], self._dt

    def too_fast(self, dt: float, fastest: float) -> bool:
        return False


class CflPace:
    """Steps of at most cfl · Δx / max(|u| + |v|).

    A step that is at most 20 % shorter than that is kept, since a new one means new decay
    factors for every mode.
    """

    def __init__(self, cfl: float, spacing: float):
        self.cfl = cfl
        self.spacing = spacing

    def divide(self, mark: int, span: float, fastest: float, dt_before: float) -> tuple[int, float]:
        longest = self.cfl * self.spacing / fastest if fastest > 0 else math.inf
        if 0.8 * longest <= dt_before <= longest:
            steps = max(1, round(span / dt_before))
        else:
            steps = max(1, math.ceil(span / (0.9 * longest)))
        dt = span / steps
        # The same but for rounding: the marks, not the sum of steps, carry the time.
        return (steps, dt_before) if abs(dt - dt_before) < 1e-12 * dt else (steps, dt)

    def too_fast(self, dt: float, fastest: float) -> bool:
        return dt * fastest > GROWTH * self.cfl * self.spacing


def stable_step(scheme: str, flow: Flow, fastest: float) -> float:
    """The longest stable step for velocities up to `fastest` = max(|u| + |v|).

    ifrk3: k_max u Δt < √3; linear waves are exact.
    ab2cn: AB2 amplifies a wave of frequency k u by (k u Δt)⁴/4 a step, which viscosity and
    drag must outweigh at the largest wavenumber: (k u Δt)⁴/4 < (νk² + r) Δt.
    """
    grid = flow.transform.grid
    if scheme != "ab2cn" or fastest == 0:
        return cfl_limit(grid.k_max, fastest)
    frequency = grid.k_max * fastest
    # The cube root of 4 rate / frequency⁴, which may be beyond the largest float.
    weak = (4.0 * flow.decay_rate(grid.k_max) / frequency) ** (1 / 3) / frequency
    return float(min(weak, 1.0 / frequency))


def cfl_limit(k_max: int, fastest: float) -> float:
    """√3 / (k_max u): the limit of third-order Runge–Kutta on the imaginary axis."""
    return math.sqrt(3.0) / (k_max * fastest) if fastest > 0 else math.inf
