"""Time-stepping schemes, and `[time]`."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eddyscope.config.case import Section
from eddyscope.flows.base import Flow

__all__ = ["SCHEMES", "AdamsBashforth2", "Stepper", "TimeSettings"]


class TimeSettings(Section):
    """`[time]`: how the flow is advanced."""

    scheme: Literal["ab2cn"] = "ab2cn"
    """Adams–Bashforth 2 for advection, Crank–Nicolson for viscosity, implicit Euler for drag."""
    dt: float = Field(gt=0.0)
    """Time step."""


class Stepper(Protocol):
    """Advances spectral vorticity in place."""

    history: dict[str, NDArray[Any]]
    """Arrays beside the vorticity that a restart needs."""
    scratch: NDArray[Any]
    """A spectral array that is free between steps."""

    def step(self, omega_hat: NDArray[Any], time: float, step: int, pi_hat: Any) -> None:
        """Advance by dt from `time`; `pi_hat` is the closure's Π or None. Collective."""


class AdamsBashforth2:
    """AB2 / Crank–Nicolson / implicit Euler, the scheme of the group's published solvers.

    ω⁺ = [ω − Δt(3/2 J − 1/2 J₋) − ½Δt νk² ω + Δt(Π − f)] / (1 + Δt r + ½Δt νk²),
    with J₋ = J at the first step.
    """

    def __init__(self, flow: Flow, dt: float):
        self.flow = flow
        self.dt = dt
        transform = flow.transform
        self._before = (1.0 - 0.5 * dt * flow.damping).astype(transform.grid.real)
        after = 1.0 + dt * flow.drag + 0.5 * dt * flow.damping
        self._inverse_after = (transform.keep / after).astype(transform.grid.real)
        self.scratch = transform.zeros_spectral()
        self._forcing = transform.zeros_spectral()
        self.history = {"previous_advection": transform.zeros_spectral()}

    def step(self, omega_hat: NDArray[Any], time: float, step: int, pi_hat: Any) -> None:
        dt = self.dt
        previous = self.history["previous_advection"]
        advection = self.flow.advection(omega_hat, self.scratch)
        explicit = self.flow.forcing(time, step, self._forcing)
        if pi_hat is not None:
            explicit -= pi_hat
        if step == 0:
            previous[...] = advection
        omega_hat *= self._before
        explicit *= dt
        omega_hat -= explicit
        np.multiply(advection, 1.5 * dt, out=explicit)
        omega_hat -= explicit
        previous *= 0.5 * dt
        omega_hat += previous
        omega_hat *= self._inverse_after
        previous[...] = advection


SCHEMES = {"ab2cn": AdamsBashforth2}
