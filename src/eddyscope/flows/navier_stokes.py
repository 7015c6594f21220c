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


class NavierStokes:
    """∂ω/∂t + J(ω, ψ) = ν∇²ω − rω − f, dealiased, with four transforms a right-hand side.

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
        forcing: Annotated[Any, Choice(FORCINGS)] = NoForcing.Settings()
        initial: Annotated[Any, Choice(INITIALS)] = RandomSpectrum.Settings()

    def __init__(
        self, settings: Settings, transform: Transform, forcing_response: NDArray[Any] | float = 1.0
    ):
        """`forcing_response` scales each mode of the forcing: the filter's, in LES."""
        self.settings = settings
        self.transform = transform
        real = transform.grid.real
        k2 = transform.kx**2 + transform.ky**2
        self.damping = (k2 / settings.reynolds).astype(real)
        self.drag = np.full_like(self.damping, settings.drag)
        nonzero = np.where(k2 > 0, k2, 1.0)
        self._inverse_k2 = (np.where(k2 > 0, 1.0 / nonzero, 0.0) * transform.keep).astype(real)
        self._kx, self._ky = transform.kx.ravel(), transform.ky.ravel()
        self._scale = real.type(transform.scale)
        self._forcing = FORCINGS.build(settings.forcing, transform, forcing_response)
        self._max_velocity = np.zeros(transform.spectral_shape[0])

    def streamfunction(self, omega_hat: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        np.multiply(omega_hat, self._inverse_k2, out=out)
        return out

    def advection(self, omega_hat: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        columns, kx, ky = self.transform.columns, self._kx, self._ky
        for i in range(len(omega_hat)):
            velocity_columns(omega_hat[i, 0], self._inverse_k2[0, 0], kx, ky, columns)
            self._max_velocity[i] = self.transform.map_points(velocity_products)
            advection_from_products(columns, kx, ky, self._scale, out[i, 0])
        return out

    def add_forcing(self, out: NDArray[Any], time: float, step: int, factor: Any) -> None:
        self._forcing.add(out, time, step, factor)

    def max_velocity(self) -> NDArray[Any]:
        return self._max_velocity

    def unforced(self, transform: Transform) -> NavierStokes:
        settings = self.settings.model_copy(update={"forcing": NoForcing.Settings()})
        return NavierStokes(settings, transform)
