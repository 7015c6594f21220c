"""When things happen: the times at which diagnostics are recorded and samples are taken.

Schedules are formulas: however many marks there are, they take no memory until someone asks
for an array of their times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, overload

import numpy as np

from eddyscope.config.arrays import AnyArray, RealArray
from eddyscope.config.errors import CaseError

__all__ = ["FixedSteps", "FreeSteps", "Schedule", "Times", "whole_steps"]

LARGEST_COUNT = 2**53
"""Steps, or marks, at the most: up to here a number of steps is exact as a float64."""

RESOLVED_TIMES = 16
"""Marks are at least so many units in the last place of the end time apart."""


class Times(Sequence[float]):
    """Times by a formula: a sequence whose array is made only when it is asked for."""

    def __init__(self, count: int, at: Callable[[int], float], array: Callable[[], RealArray]):
        self._count = count
        self._at = at
        self._array = array

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        if isinstance(index, slice):
            return [self._at(i) for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._at(index % self._count)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        return self._array().astype(dtype or np.float64, copy=False)


class Schedule(Protocol):
    """Marks in time, the first at t = 0; at every mark diagnostics are recorded.

    A step never crosses a mark: between two marks all steps are of one length.
    """

    @property
    def samples(self) -> int:
        """How many samples are taken, the last one at the last mark."""

    @property
    def last(self) -> int:
        """The last mark, at which the run ends."""

    @property
    def end(self) -> float:
        """The time of the last mark."""

    @property
    def times(self) -> Times:
        """The time of each mark."""

    @property
    def sample_times(self) -> Times:
        """The time of each sample."""

    @property
    def total_steps(self) -> int | None:
        """Steps in all, where the time step is fixed; None if it adapts."""

    def sample_at(self, mark: int) -> int | None:
        """The number of the sample taken at a mark, or None."""

    def samples_up_to(self, mark: int) -> int:
        """How many samples are taken at the marks 0 … mark."""


@dataclass(frozen=True)
class FixedSteps:
    """Marks of a fixed step: sample s at step first + s · every, and a mark at every multiple of
    `spacing` steps besides."""

    first: int
    every: int
    samples: int
    spacing: int
    dt: float

    @classmethod
    def of(cls, first: int, every: int, samples: int, records: int, dt: float) -> FixedSteps:
        """With `records` marks an interval, at most one a step. CaseError for too many steps."""
        last = first + every * (samples - 1)
        if last > LARGEST_COUNT:
            raise CaseError(
                f"time.dt = {dt:g} makes {float(min(last, 10**300)):.3g} steps of this run, more "
                f"than the {LARGEST_COUNT} that can be counted; use a larger time.dt or less time"
            )
        return cls(first, every, samples, max(1, every // records), dt)

    @property
    def total_steps(self) -> int:
        return self.first + self.every * (self.samples - 1)

    @cached_property
    def last(self) -> int:
        return self._marks_up_to(self.total_steps) - 1

    @cached_property
    def end(self) -> float:
        return self.total_steps * self.dt

    @cached_property
    def times(self) -> Times:
        return Times(self.last + 1, lambda i: self._step_of(i) * self.dt, self._all_times)

    @cached_property
    def sample_times(self) -> Times:
        def array() -> RealArray:
            steps = self.first + np.arange(self.samples, dtype=np.int64) * self.every
            return steps * self.dt

        return Times(self.samples, lambda s: (self.first + s * self.every) * self.dt, array)

    def sample_at(self, mark: int) -> int | None:
        number, rest = divmod(self._step_of(mark) - self.first, self.every)
        return number if rest == 0 and 0 <= number < self.samples else None

    def samples_up_to(self, mark: int) -> int:
        return self._samples_by(self._step_of(mark))

    def _samples_by(self, step: int) -> int:
        """How many samples are taken at the steps 0 … step."""
        return max(0, min(self.samples, (step - self.first) // self.every + 1))

    def steps_after(self, mark: int) -> int:
        """Steps from a mark to the next."""
        return self._step_of(mark + 1) - self._step_of(mark)

    def _step_of(self, mark: int) -> int:
        """The step at which a mark stands."""
        return _step_of(self, mark)

    def _all_times(self) -> RealArray:
        marks = np.arange(0, self.total_steps + 1, self.spacing, dtype=np.int64)
        sampled = self.first + np.arange(self.samples, dtype=np.int64) * self.every
        return np.union1d(marks, sampled) * self.dt

    def _marks_up_to(self, step: int) -> int:
        """How many marks there are at steps 0 … step."""
        multiples, sampled = step // self.spacing + 1, self._samples_by(step)
        return multiples + sampled - self._on_multiples(sampled)

    def _on_multiples(self, sampled: int) -> int:
        """How many of the first `sampled` samples are at multiples of `spacing`: those s with
        first + s · every ≡ 0 (mod spacing), which come back with a period."""
        common = math.gcd(self.every, self.spacing)
        if sampled <= 0 or self.first % common:
            return 0
        period = self.spacing // common
        inverse = pow(self.every // common, -1, period) if period > 1 else 0
        start = -(self.first // common) * inverse % period
        return max(0, -(-(sampled - start) // period))


@lru_cache(maxsize=8)
def _step_of(schedule: FixedSteps, mark: int) -> int:
    """The smallest step up to which there are more than `mark` marks."""
    low, high = 0, mark * schedule.spacing  # the multiples of `spacing` alone would do by then
    while low < high:
        middle = (low + high) // 2
        if schedule._marks_up_to(middle) > mark:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True)
class FreeSteps:
    """Marks of steps that adapt: sample s at time first + s · every, marks alike between."""

    first: float
    every: float
    samples: int
    records: int
    before: int
    """Marks before the first sample."""

    @classmethod
    def of(
        cls, first: float, every: float, samples: int, records: int, name: str = "ensemble"
    ) -> FreeSteps:
        """With `records` marks an interval. CaseError, naming the settings, where marks cannot be
        told apart."""
        end = first + every * (samples - 1) if samples < LARGEST_COUNT else math.inf
        spacing = every / records if records < LARGEST_COUNT else 0.0
        if not math.isfinite(end) or spacing < RESOLVED_TIMES * math.ulp(max(end, every)):
            raise CaseError(
                f"{name}.interval = {every:g} with {min(records, LARGEST_COUNT)} diagnostics "
                f"in it: such times cannot be told apart up to t = {end:g}; use a longer "
                "interval, or fewer samples or diagnostics, or less spin_up"
            )
        return cls(first, every, samples, records, max(round(first / spacing), 1) if first else 0)

    total_steps = None

    @cached_property
    def last(self) -> int:
        return self.before + (self.samples - 1) * self.records

    @cached_property
    def end(self) -> float:
        return self.times[self.last]

    @cached_property
    def times(self) -> Times:
        return Times(self.last + 1, self._at, self._all_times)

    @cached_property
    def sample_times(self) -> Times:
        def array() -> RealArray:
            return self.first + np.arange(self.samples, dtype=np.float64) * self.every

        return Times(self.samples, lambda s: self.first + s * self.every, array)

    def sample_at(self, mark: int) -> int | None:
        number, rest = divmod(mark - self.before, self.records)
        return number if rest == 0 and 0 <= number < self.samples else None

    def samples_up_to(self, mark: int) -> int:
        return max(0, min(self.samples, (mark - self.before) // self.records + 1))

    def _at(self, mark: int) -> float:
        if mark < self.before:
            return self.first * mark / self.before
        sample, part = divmod(mark - self.before, self.records)
        return self.first + (sample + part / self.records) * self.every

    def _all_times(self) -> RealArray:
        sooner = self.first * np.arange(self.before) / max(self.before, 1)
        sample, part = np.divmod(np.arange(self.last + 1 - self.before), self.records)
        return np.concatenate([sooner, self.first + (sample + part / self.records) * self.every])


def whole_steps(name: str, time: float, dt: float, dt_name: str = "time.dt") -> int:
    """`time` in steps of dt. CaseError, naming the setting, if it is not a whole number."""
    ratio = time / dt
    if not ratio <= LARGEST_COUNT:
        raise CaseError(
            f"{name} = {time:g} is more steps of {dt_name} = {dt:g} than can be counted "
            f"({LARGEST_COUNT}); use a larger {dt_name}"
        )
    steps = round(ratio)
    if abs(ratio - steps) > 1e-6 * max(steps, 1):
        below, above = int(ratio), int(ratio) + 1
        ways = " or ".join(f"{k * dt:.12g}" for k in (below, above) if k > 0)
        raise CaseError(
            f"{name} = {time:g} is not a whole number of steps of {dt_name} = {dt:g}; use {ways}"
        )
    return steps
