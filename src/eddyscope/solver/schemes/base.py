"""What a time-stepping scheme is, and `[time]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from eddyscope.config.case import Section
from eddyscope.flows.base import Flow

__all__ = ["Advection", "PiHat", "Stepper", "TimeSettings", "by_layer"]


PiHat = Callable[[NDArray[Any]], NDArray[Any] | None]
"""A closure's `pi_hat`: Π of a state, or None for Π = 0."""


class TimeSettings(Section):
    """`[time]`: how the flow is advanced; give dt, or cfl with scheme = "ifrk3"."""

    scheme: Literal["ab2cn", "ifrk3"] = "ifrk3"
    """ "ifrk3": third-order Runge–Kutta with exact linear terms; "ab2cn", as the paper has it:
    Adams–Bashforth 2 for advection, Crank–Nicolson for viscosity, implicit Euler for drag. At
    equal error a turnover time costs less with ifrk3 (`jobs/bench/schemes.py`)."""
    dt: float | None = Field(default=None, gt=0.0)
    """Time step, where it is fixed."""
    cfl: float | None = Field(default=None, gt=0.0, le=0.5)
    """Steps of at most cfl · Δx / max(|u| + |v|), Δx = 2π/n, where they adapt; ifrk3 is stable
    up to √3/π = 0.55."""

    @model_validator(mode="after")
    def _one_of_two(self) -> TimeSettings:
        if (self.dt is None) == (self.cfl is None):
            raise ValueError("give either dt (a fixed step) or cfl (steps that adapt), not both")
        if self.cfl is not None and self.scheme == "ab2cn":
            raise ValueError('cfl needs scheme = "ifrk3": ab2cn is for a fixed dt')
        return self


class Stepper(Protocol):
    """Advances spectral vorticity in place."""

    history: dict[str, NDArray[Any]]
    """Arrays beside the vorticity that a restart needs."""
    advection: Advection
    """J of the state between steps, for those who need it there."""
    fastest: float
    """max(|u| + |v|) of the stages of the last step, on this rank."""

    def set_dt(self, dt: float) -> None:
        """Change the time step. Not collective."""

    def step(self, omega_hat: NDArray[Any], time: float, step: int, pi_hat: PiHat) -> None:
        """Advance by dt from `time`; `pi_hat` gives the closure's Π or None. Collective."""


class Advection:
    """J of the state between two steps: what a sample has worked out, the step after it uses."""

    def __init__(self, flow: Flow):
        self.flow = flow
        self.values = flow.transform.zeros_spectral()
        self.fastest = 0.0
        """max(|u| + |v|) where it was worked out last, on this rank."""
        self._is_known = False

    def of(self, omega_hat: NDArray[Any]) -> NDArray[Any]:
        """J(ω, ψ), to be read only.

        The state must stay as it is until the next step. Collective.
        """
        if not self._is_known:
            self.flow.advection(omega_hat, self.values)
            self.fastest = float(self.flow.max_velocity().max(initial=0.0))
            self._is_known = True
        return self.values

    def spend(self, omega_hat: NDArray[Any]) -> NDArray[Any]:
        """The same for a step, which may change the array and will change the state. Collective."""
        values = self.of(omega_hat)
        self._is_known = False
        return values


def by_layer(factor: NDArray[Any], omega_hat: NDArray[Any]) -> NDArray[Any]:
    """A factor of each mode, the same for all layers or not, as a view (layer, kx, ky).

    factor: shape (1, 1, kx, ky) or (1, layer, kx, ky); omega_hat: (member, layer, kx, ky).
    """
    return np.broadcast_to(factor[0], omega_hat.shape[1:])
