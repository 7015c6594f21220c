"""Two-dimensional Navier–Stokes flow with linear drag and forcing, in vorticity form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eddyscope.config.case import Section
from eddyscope.config.registry import Choice
from eddyscope.flows.forcing import FORCINGS, NoForcing
from eddyscope.flows.initial import INITIALS, RandomSpectrum
from eddyscope.flows.products import (
    advection_from_products,
    velocity_columns,
    velocity_products,
)
from eddyscope.spectral.transform import Transform

__all__ = ["NavierStokes"]


class Hyperviscosity(Section):
    """`hyperviscosity = {order, coefficient}`."""

    order: int = Field(ge=2, le=32)
    """Power p of −∇² (p = 1 would be the viscosity)."""
    coefficient: float = Field(gt=0.0)
    """ν_h."""


class LargeScaleFriction(Section):
    """`friction = {order, coefficient}`."""

    order: int = Field(default=1, ge=1, le=16)
    """Power q of the inverse Laplacian."""
    coefficient: float = Field(gt=0.0)
    """μ, the rate at wavenumber 1."""


class NavierStokes:
    """∂ω/∂t + J(ω, ψ) = ν∇²ω − ν_h(−∇²)^p ω − rω − μ(−∇²)^−q ω − βv − f, dealiased.

    Four transforms a right-hand side:

    J = (∂xx − ∂yy)(uv) + ∂xy(v² − u²), which needs u and v and two products; the velocity
    is divergence-free by construction.
    """

    class Settings(Section):
        """`[base.flow]`, `[target.flow]` with kind = "navier_stokes"."""

        kind: Literal["navier_stokes"] = "navier_stokes"
        reynolds: float = Field(gt=0.0)
        """Re; the viscosity is ν = 1/Re."""
        drag: float = Field(default=0.0, ge=0.0)
        """Rate r of linear drag."""
        beta: float = 0.0
        """Gradient β of the rotation along y; Rossby waves of β > 0 go to smaller x."""
        hyperviscosity: Hyperviscosity | None = None
        """Added to the viscosity: ν_h (−∇²)^p."""
        friction: LargeScaleFriction | None = None
        """Added to the drag, acting on large scales: μ (−∇²)^−q."""
        forcing: Annotated[Any, Choice(FORCINGS)] = NoForcing.Settings()
        initial: Annotated[Any, Choice(INITIALS)] = RandomSpectrum.Settings()

    def __init__(
        self,
        settings: Settings,
        transform: Transform,
        forcing_response: NDArray[Any] | float = 1.0,
        seed: int = 0,
    ):
        """`forcing_response` scales each mode of the forcing: the filter's, in LES."""
        self.settings = settings
        self.transform = transform
        self._seed = seed
        real = transform.grid.real
        k2 = transform.kx**2 + transform.ky**2
        nonzero = np.where(k2 > 0, k2, 1.0).astype(np.float64)
        self.damping = np.where(k2 > 0, self._damping(nonzero), 0.0).astype(real)
        self.drag = np.where(k2 > 0, self._drag(nonzero), 0.0).astype(real)
        self.dispersion = (
            (settings.beta * transform.kx / nonzero * transform.keep).astype(real)
            if settings.beta
            else None
        )
        self._inverse_k2 = (np.where(k2 > 0, 1.0 / nonzero, 0.0) * transform.keep).astype(real)
        self._kx, self._ky = transform.kx.ravel(), transform.ky.ravel()
        self._half_scale = real.type(0.5 * transform.scale)
        self._forcing = FORCINGS.build(settings.forcing, transform, forcing_response, seed)
        self._max_velocity = np.zeros(transform.spectral_shape[0])

    def streamfunction(self, omega_hat: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        np.multiply(omega_hat, self._inverse_k2, out=out)
        return out

    def advection(self, omega_hat: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        kx, ky, inverse = self._kx, self._ky, self._inverse_k2[0, 0]
        for i in range(len(omega_hat)):
            state, result = omega_hat[i, 0], out[i, 0]

            def velocity(part: slice, plus: Any, minus: Any, state: Any = state) -> None:
                velocity_columns(state[part], inverse[part], kx[part], ky, plus, minus)

            def advection(part: slice, plus: Any, minus: Any, result: Any = result) -> None:
                advection_from_products(plus, minus, kx[part], ky, self._half_scale, result[part])

            fastest = self.transform.map_points(velocity_products, velocity, advection)
            self._max_velocity[i] = fastest
        return out

    def _damping(self, k2: NDArray[Any]) -> NDArray[Any]:
        hyper = self.settings.hyperviscosity
        extra = hyper.coefficient * k2**hyper.order if hyper else 0.0
        return k2 / self.settings.reynolds + extra

    def _drag(self, k2: NDArray[Any]) -> NDArray[Any]:
        friction = self.settings.friction
        extra = friction.coefficient * k2 ** (-float(friction.order)) if friction else 0.0
        return self.settings.drag + extra + 0.0 * k2

    def decay_rate(self, k: float) -> float:
        k2 = np.array(float(k) ** 2)
        return float(self._damping(k2) + self._drag(k2))

    def kick(self, omega_hat: NDArray[Any], step: int, dt: float) -> None:
        self._forcing.kick(omega_hat, step, dt)

    @property
    def kick_work(self) -> NDArray[Any] | None:
        return self._forcing.kick_work  # type: ignore[no-any-return]

    def add_forcing(self, out: NDArray[Any], time: float, step: int, factor: Any) -> None:
        self._forcing.add(out, time, step, factor)

    def max_velocity(self) -> NDArray[Any]:
        return self._max_velocity

    def on(self, transform: Transform) -> NavierStokes:
        return NavierStokes(self.settings, transform, seed=self._seed)

    def unforced(self, transform: Transform) -> NavierStokes:
        settings = self.settings.model_copy(update={"forcing": NoForcing.Settings()})
        return NavierStokes(settings, transform)
