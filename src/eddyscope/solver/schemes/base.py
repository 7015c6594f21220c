"""What a time-stepping scheme is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from eddyscope.config.arrays import ComplexArray
from eddyscope.config.case import Section
from eddyscope.flows.base import Flow

__all__ = ["Advection", "PiHat", "Scheme", "runge_kutta_limit"]

PiHat = Callable[[ComplexArray], ComplexArray | None]
"""A closure's `pi_hat`: Π of a state, or None for Π = 0."""

BEYOND_HOPE = 2.0
"""A step so many times the limit of third-order Runge–Kutta cannot be trusted with any scheme."""

SAFETY = 0.8
"""Part of the stable step that is advised."""


class Advection:
    """J of the state between two steps: what a sample has worked out, the step after it uses."""

    def __init__(self, flow: Flow):
        self.flow = flow
        self.values = flow.transform.zeros_spectral()
        self.fastest = 0.0
        """max(|u| + |v|) where it was worked out last, on this rank."""
        self._is_known = False

    def of(self, omega_hat: ComplexArray) -> ComplexArray:
        """J(ω, ψ), to be read only.

        The state must stay as it is until the next step. Collective.
        """
        if not self._is_known:
            self.flow.advection(omega_hat, self.values)
            self.fastest = float(self.flow.max_velocity().max(initial=0.0))
            self._is_known = True
        return self.values

    def spend(self, omega_hat: ComplexArray) -> ComplexArray:
        """The same for a step, which may change the array and will change the state. Collective."""
        values = self.of(omega_hat)
        self._is_known = False
        return values


class Scheme(ABC):
    """Advances spectral vorticity in place, and knows which steps it is stable for.

    A scheme to add is a class in a file of its own with a nested `Settings` and a line in
    `registry.py`.
    """

    Settings: ClassVar[type[Section]]
    """Section with the field `kind`, a Literal of the scheme's name."""
    may_adapt: ClassVar[bool] = False
    """Whether its step may change during a run, as `time.cfl` asks."""
    history_names: ClassVar[tuple[str, ...]] = ()
    """Spectral arrays beside the vorticity that a restart needs."""
    work_fields: ClassVar[int] = 0
    """Further spectral arrays of the ensemble that it keeps, beside advection and history."""

    def __init__(self, settings: Any, flow: Flow, dt: float):
        """`settings` are the class's own `Settings`. Not collective."""
        self.settings = settings
        self.flow = flow
        self.advection = Advection(flow)
        """J of the state between steps, for those who need it there."""
        self.history = {name: flow.transform.zeros_spectral() for name in self.history_names}
        self.fastest = 0.0
        """max(|u| + |v|) of the stages of the last step, on this rank."""
        self.dt = 0.0
        self.set_dt(dt)

    def set_dt(self, dt: float) -> None:
        """Change the time step. Not collective."""
        if dt != self.dt:
            self.dt = dt
            self.make_factors(dt)

    @abstractmethod
    def make_factors(self, dt: float) -> None:
        """What depends on the time step alone. Not collective."""

    @abstractmethod
    def step(self, omega_hat: ComplexArray, time: float, step: int, pi_hat: PiHat) -> None:
        """Advance by dt from `time`; `pi_hat` gives the closure's Π or None. Collective."""

    @abstractmethod
    def stable_step(self, fastest: float) -> float:
        """The longest stable step for velocities up to `fastest` = max(|u| + |v|)."""

    @classmethod
    @abstractmethod
    def factors(cls, has_waves: bool) -> int:
        """Real numbers a mode of one member that `make_factors` keeps; for a plan of memory.

        has_waves: whether the flow has linear waves (`Flow.dispersion`).
        """

    def hopeless_step(self, fastest: float) -> float:
        """The step beyond which a run cannot be trusted any more, and is ended."""
        return BEYOND_HOPE * runge_kutta_limit(self.flow.transform.grid.k_max, fastest)

    def advice(self, fastest: float) -> str:
        """What to change where a fixed step is too long for velocities up to `fastest`, NaN
        where they are not known."""
        smaller = f"use a smaller time.dt{advised(self.stable_step(fastest))}"
        return f"{smaller}, or time.cfl = 0.5 in its place" if self.may_adapt else smaller


def runge_kutta_limit(k_max: int, fastest: float) -> float:
    """√3 / (k_max u): the limit of third-order Runge–Kutta on the imaginary axis."""
    return math.sqrt(3.0) / (k_max * fastest) if fastest > 0 else math.inf


def advised(stable: float) -> str:
    """ " (up to x)" of a stable step, with some safety; nothing where it says nothing."""
    step = SAFETY * stable
    return f" (up to {step:.2g})" if 0.0 < step < math.inf else ""
