"""Time-stepping schemes, and `[time]`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eddyscope.config.case import Section
from eddyscope.flows.base import Flow
from eddyscope.solver.updates import ab2cn_update, rk_update

__all__ = ["SCHEMES", "AdamsBashforth2", "Stepper", "TimeSettings"]


PiHat = Callable[[NDArray[Any]], NDArray[Any] | None]
"""A closure's `pi_hat`: Π of a state, or None for Π = 0."""


class TimeSettings(Section):
    """`[time]`: how the flow is advanced."""

    scheme: Literal["ab2cn", "ifrk3"] = "ab2cn"
    """ "ab2cn": Adams–Bashforth 2 for advection, Crank–Nicolson for viscosity, implicit Euler for
    drag; "ifrk3": third-order Runge–Kutta with exact viscosity and drag, for larger steps."""
    dt: float = Field(gt=0.0)
    """Time step."""


class Stepper(Protocol):
    """Advances spectral vorticity in place."""

    history: dict[str, NDArray[Any]]
    """Arrays beside the vorticity that a restart needs."""
    scratch: NDArray[Any]
    """A spectral array that is free between steps."""

    def step(self, omega_hat: NDArray[Any], time: float, step: int, pi_hat: PiHat) -> None:
        """Advance by dt from `time`; `pi_hat` gives the closure's Π or None. Collective."""


class AdamsBashforth2:
    """AB2 / Crank–Nicolson / implicit Euler, the scheme of the group's published solvers.

    ω⁺ = [ω − Δt(3/2 J − 1/2 J₋) − ½Δt νk² ω + Δt(Π − f)] / (1 + Δt r + ½Δt νk²),
    with J₋ = J at the first step.
    """

    def __init__(self, flow: Flow, dt: float):
        self.flow = flow
        self.dt = dt
        transform = flow.transform
        real = transform.grid.real
        self._before = (1.0 - 0.5 * dt * flow.damping).astype(real)
        after = 1.0 + dt * flow.drag + 0.5 * dt * flow.damping
        self._inverse_after = (transform.keep / after).astype(real)
        self._dt_after = (dt * self._inverse_after).astype(real)
        self._step = real.type(dt)
        self.scratch = transform.zeros_spectral()
        self.history = {"previous_advection": transform.zeros_spectral()}

    def step(self, omega_hat: NDArray[Any], time: float, step: int, pi_hat: PiHat) -> None:
        closure = pi_hat(omega_hat)
        previous = self.history["previous_advection"]
        advection = self.flow.advection(omega_hat, self.scratch)
        if step == 0:
            previous[...] = advection
        before, inverse_after = self._before[0, 0], self._inverse_after[0, 0]
        for i in range(len(omega_hat)):
            ab2cn_update(
                omega_hat[i, 0], advection[i, 0], previous[i, 0], before, inverse_after, self._step
            )
        self.flow.add_forcing(omega_hat, time, step, -self._dt_after)
        if closure is not None:
            omega_hat += self._dt_after * closure


class RungeKutta3:
    """Third-order low-storage Runge–Kutta with exact linear terms (integrating factor).

    For each stage s: G <- A_s G + Δt (−J − f + Π), ω <- e^{−λ(c_{s+1} − c_s)Δt} (ω + B_s G),
    and G decays by the same factor, with λ the rates of viscosity and drag. Stable for
    Δt · k_max · max|u| up to about 1.7, at three right-hand sides a step.

    Coefficients: Williamson, "Low-storage Runge–Kutta schemes", J. Comput. Phys. 35 (1980).
    """

    A = (0.0, -5.0 / 9.0, -153.0 / 128.0)
    B = (1.0 / 3.0, 15.0 / 16.0, 8.0 / 15.0)
    C = (0.0, 1.0 / 3.0, 3.0 / 4.0, 1.0)

    def __init__(self, flow: Flow, dt: float):
        self.flow = flow
        self.dt = dt
        transform = flow.transform
        real = transform.grid.real
        rate = (flow.damping + flow.drag).astype(float)
        spans = [later - sooner for sooner, later in pairwise(self.C)]
        self._decay = [(transform.keep * np.exp(-rate * span * dt)).astype(real) for span in spans]
        self._a = [real.type(a) for a in self.A]
        self._b = [real.type(b) for b in self.B]
        self._step = real.type(dt)
        self.scratch = transform.zeros_spectral()
        self._increment = transform.zeros_spectral()
        self.history: dict[str, NDArray[Any]] = {}

    def step(self, omega_hat: NDArray[Any], time: float, step: int, pi_hat: PiHat) -> None:
        for a, b, c, decay in zip(self._a, self._b, self.C, self._decay, strict=False):
            closure = pi_hat(omega_hat)
            tendency = self.flow.advection(omega_hat, self.scratch)
            self.flow.add_forcing(tendency, time + c * self.dt, step, 1.0)
            if closure is not None:
                tendency -= closure
            for i in range(len(omega_hat)):
                rk_update(
                    omega_hat[i, 0],
                    tendency[i, 0],
                    self._increment[i, 0],
                    decay[0, 0],
                    a,
                    b,
                    self._step,
                )


SCHEMES: dict[str, Callable[[Flow, float], Stepper]] = {
    "ab2cn": AdamsBashforth2,
    "ifrk3": RungeKutta3,
}
