"""Adams–Bashforth 2 for advection, Crank–Nicolson for viscosity, implicit Euler for drag."""

from __future__ import annotations

from typing import Literal

from eddyscope.config.arrays import ComplexArray
from eddyscope.config.case import Section
from eddyscope.solver.schemes.base import PiHat, Scheme

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
        from_host = flow.transform.from_host
        after = 1.0 + dt * flow.drag + 0.5 * dt * flow.damping
        inverse_after = (flow.transform.keep / after).astype(real)
        self._before = from_host((1.0 - 0.5 * dt * flow.damping).astype(real))
        self._inverse_after = from_host(inverse_after)
        self._minus_dt_after = from_host((-dt * inverse_after).astype(real))
        self._waves = None if flow.dispersion is None else from_host(flow.dispersion)

    def step(self, omega_hat: ComplexArray, time: float, step: int, pi_hat: PiHat) -> None:
        loops, closure = self.flow.transform.loops, pi_hat(omega_hat)
        previous = self.history["previous_advection"]
        advection = self.advection.spend(omega_hat)
        self.fastest = self.advection.fastest
        if self._waves is not None:
            loops.subtract_waves(advection, self._waves, omega_hat)
        if step == 0:
            previous[...] = advection
        factors = self._before, self._inverse_after, 1.5 * self.dt, 0.5 * self.dt
        loops.ab2cn_update(omega_hat, advection, previous, *factors)
        self.flow.add_forcing(omega_hat, time, step, self._minus_dt_after)
        if closure is not None:
            loops.multiply(closure, self._minus_dt_after, out=advection)
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
