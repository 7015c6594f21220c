"""Adams–Bashforth 2 for advection, Crank–Nicolson for viscosity, implicit Euler for drag."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.flows.base import Flow
from eddyscope.solver.schemes.base import Advection, PiHat, by_layer
from eddyscope.solver.updates import ab2cn_update, subtract_waves

__all__ = ["AdamsBashforth2"]


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
        if self.flow.dispersion is not None:
            waves = by_layer(self.flow.dispersion, omega_hat)
            for at in np.ndindex(omega_hat.shape[:2]):
                subtract_waves(advection[at], waves[at[1]], omega_hat[at])
        if step == 0:
            previous[...] = advection
        before = by_layer(self._before, omega_hat)
        after = by_layer(self._inverse_after, omega_hat)
        for at in np.ndindex(omega_hat.shape[:2]):
            factors = before[at[1]], after[at[1]], self._now, self._then
            ab2cn_update(omega_hat[at], advection[at], previous[at], *factors)
        self.flow.add_forcing(omega_hat, time, step, self._minus_dt_after)
        if closure is not None:
            np.multiply(closure, self._minus_dt_after, out=advection)
            omega_hat -= advection
        self.flow.kick(omega_hat, step, self.dt)
