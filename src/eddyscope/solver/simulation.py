"""The time loop. It knows a flow, a scheme and a closure; what is done with the state, and
when, is the business of observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from eddyscope.config.arrays import AnyArray, ComplexArray
from eddyscope.flows.base import Flow
from eddyscope.parallel.reduce import largest
from eddyscope.solver.closure import Closure
from eddyscope.solver.pace import Pace
from eddyscope.solver.schedule import Schedule
from eddyscope.solver.schemes.base import Scheme

__all__ = ["Clock", "Observer", "Simulation"]


class Observer(Protocol):
    """Called at every step boundary, on all ranks, in the order the observers are given."""

    def observe(self, simulation: Simulation) -> None: ...


class Clock:
    """Where a run is: between which marks, in which of the steps that lead to the next one."""

    def __init__(self) -> None:
        self.mark = 0
        """The last mark passed."""
        self.began = 0.0
        """Time at which the present division into equal steps began."""
        self.done = 0
        """Steps of it that are done."""
        self.steps = 0
        """Steps of it in all; 0 before the first."""
        self.dt = 0.0
        self.step = 0
        """Steps since the start of the run."""
        self.fastest = 0.0
        """max(|u| + |v|) of the last step, over all ranks and members."""

    @property
    def time(self) -> float:
        return self.began + self.done * self.dt

    def as_dict(self) -> dict[str, float]:
        """All of it, for a checkpoint."""
        return dict(vars(self))

    def restore(self, values: dict[str, float]) -> None:
        """Set it to what `as_dict` gave; the bits of every number survive."""
        for name, before in vars(self).items():
            setattr(self, name, type(before)(values[name]))


class Simulation:
    """The state of an ensemble and the loop that advances it."""

    def __init__(
        self,
        flow: Flow,
        scheme: Scheme,
        closure: Closure,
        omega_hat: ComplexArray,
        schedule: Schedule,
        pace: Pace,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ):
        self.flow = flow
        self.scheme = scheme
        self.closure = closure
        self.omega_hat = omega_hat
        self.schedule = schedule
        self.pace = pace
        self.clock = Clock()
        self.stop = False
        """Whether any rank was asked to stop, agreed at the last step."""
        self._asked_to_stop = asked_to_stop
        self._comm = flow.transform.mesh.comm

    @property
    def time(self) -> float:
        return self.clock.time

    @property
    def at_mark(self) -> int | None:
        """The mark that the state stands at, or None between marks."""
        return self.clock.mark if self.clock.done == 0 else None

    @property
    def state(self) -> dict[str, AnyArray]:
        """All arrays that a restart needs."""
        kicks = self.flow.kick_work
        return {
            "omega_hat": self.omega_hat,
            **self.scheme.history,
            **({} if kicks is None else {"kick_work": kicks}),
        }

    def run(self, last: int, observers: Sequence[Observer]) -> None:
        """Advance to mark `last`; observers see a new run's start and every step. Collective."""
        clock = self.clock
        if clock.step == 0:
            self.scheme.advection.of(self.omega_hat)
            self._agree(self.scheme.advection.fastest)
            if last > 0:
                self._divide()  # so that observers know the first step's length
            self._show(observers)
        elif clock.dt:
            self.scheme.set_dt(clock.dt)
        while clock.mark < last:
            self.advance()
            self._show(observers)

    def advance(self) -> None:
        """One time step. Collective."""
        clock = self.clock
        if self.at_mark is not None and self.flow.kick_work is not None:
            self.flow.kick_work[...] = 0  # the account is of what is done between two marks
        if clock.done == 0 or self.pace.too_fast(clock.dt, clock.fastest):
            self._divide()
        self.scheme.step(self.omega_hat, clock.time, clock.step, self.closure.pi_hat)
        clock.step += 1
        clock.done += 1
        if clock.done == clock.steps:
            clock.mark += 1
            clock.began, clock.done = self.schedule.times[clock.mark], 0
        self._agree(self.scheme.fastest)

    def _divide(self) -> None:
        """Divide the time to the next mark into equal steps."""
        clock = self.clock
        clock.began = clock.time
        clock.done = 0
        span = self.schedule.times[clock.mark + 1] - clock.began
        clock.steps, clock.dt = self.pace.divide(clock.mark, span, clock.fastest, clock.dt)
        self.scheme.set_dt(clock.dt)

    def _agree(self, fastest: float) -> None:
        """What all ranks must know of each other after a step, in one small reduction."""
        fastest = fastest if np.isfinite(fastest) else np.inf
        agreed = largest(self._comm, np.array([fastest, self._asked_to_stop()], dtype=float))
        self.clock.fastest = float(agreed[0])
        self.stop = bool(agreed[1])

    def _show(self, observers: Sequence[Observer]) -> None:
        for observer in observers:
            observer.observe(self)
