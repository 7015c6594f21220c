"""Time-stepping schemes, and `[time]`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from eddyscope.config.case import Section
from eddyscope.flows.base import Flow
from eddyscope.solver.updates import ab2cn_update, rk_update, subtract_waves

__all__ = ["SCHEMES", "AdamsBashforth2", "Stepper", "TimeSettings"]


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


class AdamsBashforth2:
    """AB2 / Crank–Nicolson / implicit Euler, the scheme of the group's published solvers.

    ω⁺ = [ω − Δt(3/2 J − 1/2 J₋) − ½Δt νk² ω + Δt(Π − f)] / (1 + Δt r + ½Δt νk²),
    with J₋ = J at the first step; linear waves are part of J here.
    """

    def __init__(self, flow: Flow, dt: float):
        self.flow = flow
        self.advection = Advection(flow)
        self.history = {"previous_advection": flow.transform.zeros_spectral()}
        self.fastest = 0.0
        self.dt = 0.0
        self.set_dt(dt)

    def set_dt(self, dt: float) -> None:
        if dt == self.dt:
            return
        self.dt = dt
        flow, real = self.flow, self.flow.transform.grid.real
        self._before = (1.0 - 0.5 * dt * flow.damping).astype(real)
        after = 1.0 + dt * flow.drag + 0.5 * dt * flow.damping
        self._inverse_after = (flow.transform.keep / after).astype(real)
        self._minus_dt_after = (-dt * self._inverse_after).astype(real)
        self._now, self._then = real.type(1.5 * dt), real.type(0.5 * dt)

    def step(self, omega_hat: NDArray[Any], time: float, step: int, pi_hat: PiHat) -> None:
        closure = pi_hat(omega_hat)
        previous = self.history["previous_advection"]
        advection = self.advection.spend(omega_hat)
        self.fastest = self.advection.fastest
        dispersion = self.flow.dispersion
        if dispersion is not None:
            for i in range(len(omega_hat)):
                subtract_waves(advection[i, 0], dispersion[0, 0], omega_hat[i, 0])
        if step == 0:
            previous[...] = advection
        factors = self._before[0, 0], self._inverse_after[0, 0], self._now, self._then
        for i in range(len(omega_hat)):
            ab2cn_update(omega_hat[i, 0], advection[i, 0], previous[i, 0], *factors)
        self.flow.add_forcing(omega_hat, time, step, self._minus_dt_after)
        if closure is not None:
            np.multiply(closure, self._minus_dt_after, out=advection)
            omega_hat -= advection
        self.flow.kick(omega_hat, step, self.dt)


class RungeKutta3:
    """Third-order low-storage Runge–Kutta with exact linear terms (integrating factor).

    For each stage s: G <- A_s G + Δt (−J − f + Π), ω <- e^{−λ(c_{s+1} − c_s)Δt} (ω + B_s G),
    and G decays by the same factor; λ are the rates of viscosity and drag, less i times the
    frequency of linear waves. Stable for Δt k_max max(|u| + |v|) up to √3.

    Coefficients: Williamson, "Low-storage Runge–Kutta schemes", J. Comput. Phys. 35 (1980).
    """

    A = (0.0, -5.0 / 9.0, -153.0 / 128.0)
    B = (1.0 / 3.0, 15.0 / 16.0, 8.0 / 15.0)
    C = (0.0, 1.0 / 3.0, 3.0 / 4.0, 1.0)

    def __init__(self, flow: Flow, dt: float):
        self.flow = flow
        real = flow.transform.grid.real
        self._a = [real.type(a) for a in self.A]
        self._b = [real.type(b) for b in self.B]
        self.advection = Advection(flow)
        self._increment = flow.transform.zeros_spectral()
        self.history: dict[str, NDArray[Any]] = {}
        self.fastest = 0.0
        self.dt = 0.0
        self.set_dt(dt)

    def set_dt(self, dt: float) -> None:
        if dt == self.dt:
            return
        self.dt = dt
        flow, grid = self.flow, self.flow.transform.grid
        rate: NDArray[Any] = flow.damping.astype(float) + flow.drag
        kind = grid.real
        if flow.dispersion is not None:
            rate = rate - 1j * flow.dispersion
            kind = grid.complex  # type: ignore[assignment]
        spans = [later - sooner for sooner, later in pairwise(self.C)]
        keep = flow.transform.keep
        self._decay = [(keep * np.exp(-rate * span * dt)).astype(kind) for span in spans]
        self._step = grid.real.type(dt)

    def step(self, omega_hat: NDArray[Any], time: float, step: int, pi_hat: PiHat) -> None:
        self.fastest = 0.0
        for a, b, c, decay in zip(self._a, self._b, self.C, self._decay, strict=False):
            closure = pi_hat(omega_hat)
            loss = self.advection.spend(omega_hat)
            self.fastest = max(self.fastest, self.advection.fastest)
            self.flow.add_forcing(loss, time + c * self.dt, step, 1.0)
            if closure is not None:
                loss -= closure
            for i in range(len(omega_hat)):
                rk_update(
                    omega_hat[i, 0],
                    loss[i, 0],
                    self._increment[i, 0],
                    decay[0, 0],
                    a,
                    b,
                    self._step,
                )
        self.flow.kick(omega_hat, step, self.dt)


SCHEMES: dict[str, Callable[[Flow, float], Stepper]] = {
    "ab2cn": AdamsBashforth2,
    "ifrk3": RungeKutta3,
}
