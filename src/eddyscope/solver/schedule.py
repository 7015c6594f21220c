"""When things happen: the times at which diagnostics are recorded and samples are taken."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from eddyscope.config.errors import CaseError

__all__ = ["Schedule", "whole_steps"]


@dataclass(frozen=True)
class Schedule:
    """Marks in time, the first at t = 0; at every mark diagnostics are recorded.

    A step never crosses a mark: between two marks all steps are of one length.
    """

    times: tuple[float, ...]
    samples: tuple[int | None, ...]
    """The number of the sample taken at each mark, or None."""
    steps: tuple[int, ...] | None = None
    """Steps from each mark to the next, where the time step is fixed; None if it adapts."""

    @property
    def last(self) -> int:
        """The last mark, at which the run ends."""
        return len(self.times) - 1

    @property
    def sample_times(self) -> tuple[float, ...]:
        return tuple(t for t, s in zip(self.times, self.samples, strict=True) if s is not None)

    @classmethod
    def of_steps(cls, first: int, every: int, samples: int, records: int, dt: float) -> Schedule:
        """With a fixed step: sample s at step first + s · every, `records` marks an interval."""
        spacing = max(1, every // records)
        last = first + every * (samples - 1)
        sampled = {first + s * every: s for s in range(samples)}
        marks = sorted({*range(0, last + 1, spacing), *sampled})
        between = tuple(b - a for a, b in itertools.pairwise(marks))
        return cls(
            tuple(mark * dt for mark in marks), tuple(sampled.get(mark) for mark in marks), between
        )

    @classmethod
    def of_times(cls, first: float, every: float, samples: int, records: int) -> Schedule:
        """With steps that adapt: sample s at time first + s · every, marks alike between."""
        spacing = every / records
        before = round(first / spacing) if first else 0
        before = max(before, 1) if first else 0
        times = [first * i / before for i in range(before)]
        numbers: list[int | None] = [None] * before
        for s in range(samples):
            marks = range(records) if s < samples - 1 else range(1)
            times += [first + (s + i / records) * every for i in marks]
            numbers += [s if i == 0 else None for i in marks]
        return cls(tuple(times), tuple(numbers))


def whole_steps(name: str, time: float, dt: float, dt_name: str = "time.dt") -> int:
    """`time` in steps of dt. CaseError, naming the setting, if it is not a whole number."""
    steps = round(time / dt)
    if abs(time / dt - steps) > 1e-6 * max(steps, 1):
        below, above = int(time / dt), int(time / dt) + 1
        ways = " or ".join(f"{k * dt:.12g}" for k in (below, above) if k > 0)
        raise CaseError(
            f"{name} = {time:g} is not a whole number of steps of {dt_name} = {dt:g}; use {ways}"
        )
    return steps
