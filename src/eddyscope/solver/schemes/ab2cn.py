"""Adams–Bashforth 2 for advection, Crank–Nicolson for viscosity, implicit Euler for drag."""

from __future__ import annotations

from typing import Literal

import numpy as np

from eddyscope.config.arrays import ComplexArray
from eddyscope.config.case import Section
from eddyscope.solver.schemes.base import PiHat, Scheme, by_layer
from eddyscope.solver.updates import ab2cn_update, subtract_waves

__all__ = ["AdamsBashforth2"]


class AdamsBashforth2(Scheme):
    """AB2 / Crank–Nicolson / implicit Euler, the scheme of the group's published solvers.

    ω⁺ = [ω − Δt(3/2 J − 1/2 J₋) − ½Δt νk² ω + Δt(Π − f)] / (1 + Δt r + ½Δt νk²),
    with J₋ = J at the first step; linear waves are part of J here.
    """

    class Settings(Section):
        """Adams–Bashforth 2 for advection, Crank–Nicolson for viscosity, implicit Euler for drag,
        as the paper has it; for a fixed dt."""

        kind: Literal["ab2cn"] = "ab2cn"

    history_names = ("previous_advection",)

    @classmethod
    def factors(cls, has_waves: bool) -> int:
        return 3

    def make_factors(self, dt: float) -> None:
        flow, real = self.flow, self.flow.transform.grid.real
        self._before = (1.0 - 0.5 * dt * flow.damping).astype(real)
        after = 1.0 + dt * flow.drag + 0.5 * dt * flow.damping
        self._inverse_after = (flow.transform.keep / after).astype(real)
        self._minus_dt_after = (-dt * self._inverse_after).astype(real)
        self._now, self._then = real.type(1.5 * dt), real.type(0.5 * dt)

    def step(self, omega_hat: ComplexArray, time: float, step: int, pi_hat: PiHat) -> None:
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

    def stable_step(self, fastest: float) -> float:
        """AB2 amplifies a wave of frequency k u by (k u Δt)⁴/4 a step, which viscosity and drag
        must outweigh at the largest wavenumber: (k u Δt)⁴/4 < (νk² + r) Δt."""
        k_max = self.flow.transform.grid.k_max
        if fastest == 0:
            return float("inf")
        frequency = k_max * fastest
        # The cube root of 4 rate / frequency⁴, which may be beyond the largest float.
        weak = (4.0 * self.flow.decay_rate(k_max) / frequency) ** (1 / 3) / frequency
        return float(min(weak, 1.0 / frequency))
