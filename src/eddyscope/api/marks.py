"""A schedule that grows: where a run ends is said as it goes."""

from __future__ import annotations

import numpy as np

from eddyscope.config.errors import CaseError
from eddyscope.solver.schedule import Times, whole_steps

__all__ = ["FixedPace", "Marks"]


class Marks:
    """Times at which a run pauses, the first at t = 0; see `solver.schedule.Schedule`."""

    samples = 0
    total_steps = None

    def __init__(self) -> None:
        self._ends = [0.0]

    def add(self, duration: float) -> None:
        """One more mark, so long after the last. CaseError for a time that does not go on."""
        end = self.end + duration
        if not (np.isfinite(end) and end > self.end):
            raise CaseError(f"duration = {duration:g}: give a time that leads on from {self.end:g}")
        self._ends.append(end)

    @property
    def last(self) -> int:
        return len(self._ends) - 1

    @property
    def end(self) -> float:
        return self._ends[-1]

    @property
    def times(self) -> Times:
        return Times(len(self._ends), self._ends.__getitem__, lambda: np.array(self._ends))

    @property
    def sample_times(self) -> Times:
        return Times(0, self._ends.__getitem__, lambda: np.array([]))

    def sample_at(self, mark: int) -> int | None:
        return None

    def samples_up_to(self, mark: int) -> int:
        return 0


class FixedPace:
    """Steps of dt, whatever happens; see `solver.pace.Pace`."""

    advice = ""

    def __init__(self, dt: float):
        self.dt = dt

    def divide(self, mark: int, span: float, fastest: float, dt_before: float) -> tuple[int, float]:
        return whole_steps("duration", span, self.dt, "dt"), self.dt

    def too_fast(self, dt: float, fastest: float) -> bool:
        return False
