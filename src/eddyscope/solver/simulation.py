"""The time loop. It knows a flow, a stepper and a closure; what is done with the state, and
when, is the business of observers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from eddyscope.flows.base import Flow
from eddyscope.solver.closure import Closure
from eddyscope.solver.steppers import Stepper

__all__ = ["Observer", "Simulation"]


class Observer(Protocol):
    """Called at every step boundary, on all ranks, in the order the observers are given."""

    def observe(self, simulation: Simulation) -> None: ...


class Simulation:
    """The state of an ensemble and the loop that advances it."""

    def __init__(
        self, flow: Flow, stepper: Stepper, closure: Closure, omega_hat: NDArray[Any], dt: float
    ):
        self.flow = flow
        self.stepper = stepper
        self.closure = closure
        self.omega_hat = omega_hat
        self.dt = dt
        self.step_number = 0

    @property
    def time(self) -> float:
        return self.step_number * self.dt

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """All arrays that a restart needs."""
        return {"omega_hat": self.omega_hat, **self.stepper.history}

    def advance(self) -> None:
        """One time step. Collective."""
        self.stepper.step(self.omega_hat, self.time, self.step_number, self.closure.pi_hat)
        self.step_number += 1

    def run(self, last: int, observers: Sequence[Observer]) -> None:
        """Advance to step `last`; observers see a new run's start and every step. Collective."""
        if self.step_number == 0:
            self.flow.advection(self.omega_hat, self.stepper.scratch)  # velocities for observers
            self._show(observers)
        while self.step_number < last:
            self.advance()
            self._show(observers)

    def _show(self, observers: Sequence[Observer]) -> None:
        for observer in observers:
            observer.observe(self)
