"""Third-order Runge–Kutta with exact linear terms."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.flows.base import Flow
from eddyscope.solver.schemes.base import Advection, PiHat, by_layer
from eddyscope.solver.updates import rk_update

__all__ = ["RungeKutta3"]


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
            factors = by_layer(decay, omega_hat)
            for at in np.ndindex(omega_hat.shape[:2]):
                fields = omega_hat[at], loss[at], self._increment[at]
                rk_update(*fields, factors[at[1]], a, b, self._step)
        self.flow.kick(omega_hat, step, self.dt)
