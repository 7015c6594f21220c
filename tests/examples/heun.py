"""A time-stepping scheme that a user might add: Heun's method with exact linear terms."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from eddyscope.config.arrays import ComplexArray
from eddyscope.config.case import Section
from eddyscope.flows.base import Flow
from eddyscope.solver.schemes.base import PiHat, Scheme


class Heun(Scheme):
    """ω* = e^{−λΔt}(ω + Δt N), ω⁺ = e^{−λΔt}(ω + ½Δt N) + ½Δt N*, with N = −J − f + Π."""

    class Settings(Section):
        kind: Literal["heun"] = "heun"
        safety: float = Field(default=0.5, gt=0.0, le=1.0)
        """Part of the formal limit that counts as stable."""

    work_fields = 2

    def __init__(self, settings: Settings, flow: Flow, dt: float):
        super().__init__(settings, flow, dt)
        self._predicted = flow.transform.zeros_spectral()
        self._first = flow.transform.zeros_spectral()

    @classmethod
    def factors(cls, has_waves: bool) -> int:
        return 2 if has_waves else 1

    def make_factors(self, dt: float) -> None:
        flow = self.flow
        rate = flow.damping.astype(float) + flow.drag
        kind = flow.transform.grid.real if flow.dispersion is None else flow.transform.grid.complex
        if flow.dispersion is not None:
            rate = rate - 1j * flow.dispersion
        decay = (flow.transform.keep * np.exp(-rate * dt)).astype(kind)
        self._decay = flow.transform.from_host(decay)

    def step(self, omega_hat: ComplexArray, time: float, step: int, pi_hat: PiHat) -> None:
        dt = self.dt
        self.fastest = 0.0
        self._change(omega_hat, time, step, pi_hat, self._first)
        self._predicted[...] = self._decay * (omega_hat + dt * self._first)
        omega_hat[...] = self._decay * (omega_hat + dt / 2 * self._first)
        self._change(self._predicted, time + self.dt, step, pi_hat, self._first)
        omega_hat += dt / 2 * self._first
        self.flow.kick(omega_hat, step, self.dt)

    def _change(
        self, omega_hat: ComplexArray, time: float, step: int, pi_hat: PiHat, out: ComplexArray
    ) -> None:
        closure = pi_hat(omega_hat)
        out[...] = self.advection.spend(omega_hat)
        self.fastest = max(self.fastest, self.advection.fastest)
        self.flow.add_forcing(out, time, step, 1.0)
        if closure is not None:
            out -= closure
        out *= -1.0

    def stable_step(self, fastest: float) -> float:
        """Heun's method amplifies the waves of advection as Adams–Bashforth 2 does."""
        k_max = self.flow.transform.grid.k_max
        if fastest == 0:
            return float("inf")
        frequency = k_max * fastest
        weak = (8.0 * self.flow.decay_rate(k_max) / frequency) ** (1 / 3) / frequency
        return float(self.settings.safety * min(weak, 1.0 / frequency))
