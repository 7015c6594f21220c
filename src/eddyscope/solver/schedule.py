"""When things happen, in whole time steps."""

from __future__ import annotations

from dataclasses import dataclass

from eddyscope.config.case import CaseError

__all__ = ["Schedule", "whole_steps"]


@dataclass(frozen=True)
class Schedule:
    """Steps at which samples are taken and diagnostics recorded."""

    first: int
    """Step of sample 0."""
    every: int
    """Steps between samples."""
    samples: int
    record_every: int
    """Steps between records of the diagnostics, from step 0."""

    @property
    def last(self) -> int:
        """The step of the last sample, at which the run ends."""
        return self.first + self.every * (self.samples - 1)

    @property
    def records(self) -> list[int]:
        """Steps at which diagnostics are recorded."""
        return list(range(0, self.last + 1, self.record_every))

    def sample_at(self, step: int) -> int | None:
        """The number of the sample that is due at `step`, or None."""
        number, rest = divmod(step - self.first, self.every)
        return number if rest == 0 and 0 <= number < self.samples else None

    def record_at(self, step: int) -> int | None:
        """The number of the record that is due at `step`, or None."""
        number, rest = divmod(step, self.record_every)
        return number if rest == 0 else None


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
