"""Third-order Runge–Kutta with exact linear terms."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from eddyscope.config.arrays import ComplexArray, RealArray
from eddyscope.config.case import Section
from eddyscope.flows.base import Flow
from eddyscope.solver.schemes.base import PiHat, Scheme, runge_kutta_limit

__all__ = ["RungeKutta3"]


class RungeKutta3(Scheme):
    """Third-order low-storage Runge–Kutta with exact linear terms (integrating factor).

    For each stage s: G <- A_s G + Δt (−J − f + Π), ω <- e^{−λ(c_{s+1} − c_s)Δt} (ω + B_s G),
    and G decays by the same factor; λ are the rates of viscosity and drag, less i times the
    frequency of linear waves. Stable for Δt k_max max(|u| + |v|) up to √3.

    Coefficients: Williamson, "Low-storage Runge–Kutta schemes", J. Comput. Phys. 35 (1980).
    """

    class Settings(Section):
        """Third-order Runge–Kutta with exact linear terms."""

        kind: Literal["ifrk3"] = "ifrk3"

    A = (0.0, -5.0 / 9.0, -153.0 / 128.0)
    B = (1.0 / 3.0, 15.0 / 16.0, 8.0 / 15.0)
    C = (0.0, 1.0 / 3.0, 3.0 / 4.0, 1.0)

    may_adapt = True
    work_fields = 1

    def __init__(self, settings: Settings, flow: Flow, dt: float):
        super().__init__(settings, flow, dt)
        self._increment = flow.transform.zeros_spectral()

    @classmethod
    def factors(cls, has_waves: bool) -> int:
        return 6 if has_waves else 3

    def make_factors(self, dt: float) -> None:
        flow, grid = self.flow, self.flow.transform.grid
        rate: RealArray | ComplexArray = flow.damping.astype(float) + flow.drag
        kind: np.dtype[np.inexact] = grid.real
        if flow.dispersion is not None:
            rate = rate - 1j * flow.dispersion
            kind = grid.complex
        spans = [later - sooner for sooner, later in pairwise(self.C)]
        keep, from_host = flow.transform.keep, flow.transform.from_host
        self._decay = [from_host((keep * np.exp(-rate * span * dt)).astype(kind)) for span in spans]

    def step(self, omega_hat: ComplexArray, time: float, step: int, pi_hat: PiHat) -> None:
        self.fastest = 0.0
        rk_update = self.flow.transform.loops.rk_update
        for a, b, c, decay in zip(self.A, self.B, self.C, self._decay, strict=False):
            closure = pi_hat(omega_hat)
            loss = self.advection.spend(omega_hat)
            self.fastest = max(self.fastest, self.advection.fastest)
            self.flow.add_forcing(loss, time + c * self.dt, step, 1.0)
            if closure is not None:
                loss -= closure
            rk_update(omega_hat, loss, self._increment, decay, a, b, self.dt)
        self.flow.kick(omega_hat, step, self.dt)

    def stable_step(self, fastest: float) -> float:
        """k_max u Δt < √3; linear terms are exact."""
        return runge_kutta_limit(self.flow.transform.grid.k_max, fastest)
