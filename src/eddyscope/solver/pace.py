"""How many steps lead from one mark in time to the next.

The largest velocity that decides it is the maximum over all ranks and members, which does
not depend on how they are laid out; so neither do the steps.

Steps end at marks. Where they adapt, other marks, as those of another sampling interval, are
therefore other steps, and the solution differs by the scheme's own error; where they are of a
fixed length, marks only lie between them, and the solution does not depend on marks at all.
"""

from __future__ import annotations

import math
from typing import Protocol

from eddyscope.solver.schedule import LARGEST_COUNT, FixedSteps, Schedule

__all__ = ["CflPace", "FixedPace", "Pace", "make_pace"]

GROWTH = 1.1
"""How far the velocity may outgrow the step within an interval before it is divided anew; with
cfl = 0.5, the largest allowed, such a step is stable still: 1.1 · 0.5 < √3/π."""

SHORTER = 0.8
"""Part of the longest step allowed down to which a step is kept as it is."""

MARGIN = 0.9
"""Part of the longest step allowed that a new step takes at the most."""


class Pace(Protocol):
    advice: str
    """What to change where its steps prove too long; empty where that is up to the scheme."""

    def divide(self, mark: int, span: float, fastest: float, dt_before: float) -> tuple[int, float]:
        """Steps over `span`, the time left to the mark after `mark`, and their length.

        `dt_before` is the last step's length, 0 at the start of a run.
        """

    def too_fast(self, dt: float, fastest: float) -> bool:
        """Whether what is left of the interval should be divided anew."""


class FixedPace:
    """The same steps, whatever happens."""

    advice = ""

    def __init__(self, schedule: FixedSteps):
        self._schedule = schedule

    def divide(self, mark: int, span: float, fastest: float, dt_before: float) -> tuple[int, float]:
        return self._schedule.steps_after(mark), self._schedule.dt

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
        self.advice = f"use a smaller time.cfl than {cfl:g}"

    def divide(self, mark: int, span: float, fastest: float, dt_before: float) -> tuple[int, float]:
        if not math.isfinite(fastest):
            return 1, span  # the run is about to be ended
        longest = self.cfl * self.spacing / fastest if fastest > 0 else math.inf
        if dt_before > 0 and SHORTER * longest <= dt_before <= longest:
            steps = max(1, round(span / dt_before))
        else:
            needed = span / (MARGIN * longest) if longest > 0 else math.inf
            steps = max(1, math.ceil(min(needed, LARGEST_COUNT)))
        dt = span / steps
        # The same but for rounding: the marks, not the sum of steps, carry the time.
        return (steps, dt_before) if abs(dt - dt_before) < 1e-12 * dt else (steps, dt)

    def too_fast(self, dt: float, fastest: float) -> bool:
        return dt * fastest > GROWTH * self.cfl * self.spacing


def make_pace(schedule: Schedule, cfl: float | None, spacing: float) -> Pace:
    """The pace of a schedule: its own steps where they are fixed, else of at most `cfl`.

    spacing: Δx = 2π/n of the grid.
    """
    if isinstance(schedule, FixedSteps):
        return FixedPace(schedule)
    if cfl is None:
        raise ValueError("a schedule without fixed steps needs a CFL number")
    return CflPace(cfl, spacing)
