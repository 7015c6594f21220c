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

    def __init__(self, settings: Settings, transform: Transform):
        self.settings = settings
        self.transform = transform
        kx, ky, keep = transform.kx, transform.ky, transform.keep
        k2 = kx * kx + ky * ky
        self.damping = (k2 / settings.reynolds).astype(transform.grid.real)
        self.drag = np.full_like(self.damping, settings.drag)
        nonzero = np.where(k2 > 0, k2, 1.0)
        self._inverse_k2 = (np.where(k2 > 0, 1.0 / nonzero, 0.0) * keep).astype(k2.dtype)
        self._uv_factor = ((ky * ky - kx * kx) * keep).astype(k2.dtype)
        self._square_factor = (-kx * ky * keep).astype(k2.dtype)
        self._forcing = FORCINGS.build(settings.forcing, transform)
        self._u = transform.empty_physical()
        self._v = transform.empty_physical()
        self._product = transform.empty_physical()
        self._psi_hat = transform.zeros_spectral()
        self._work_hat = transform.zeros_spectral()

    def streamfunction(self, omega_hat: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        np.multiply(omega_hat, self._inverse_k2, out=out)
        return out

    def advection(self, omega_hat: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        transform, u, v, product, work = (
            self.transform,
            self._u,
            self._v,
            self._product,
            self._work_hat,
        )
        psi_hat = self.streamfunction(omega_hat, self._psi_hat)
        np.multiply(psi_hat, 1j * transform.ky, out=work)
        transform.backward(work, u)
        np.multiply(psi_hat, -1j * transform.kx, out=work)
        transform.backward(work, v)
        np.multiply(u, v, out=product)
        transform.forward(product, out)
        out *= self._uv_factor
        np.subtract(v, u, out=product)
        product *= v + u
        transform.forward(product, work)
        work *= self._square_factor
        out += work
        return out

    def forcing(self, time: float, step: int, out: NDArray[Any]) -> NDArray[Any]:
        return self._forcing(time, step, out)  # type: ignore[no-any-return]

    def max_velocity(self) -> NDArray[Any]:
        speed = np.abs(self._u)
        speed += np.abs(self._v)
        return np.asarray(speed.max(axis=(1, 2, 3)), dtype=np.float64)

    def unforced(self, transform: Transform) -> NavierStokes:
        settings = self.settings.model_copy(update={"forcing": NoForcing.Settings()})
        return NavierStokes(settings, transform)
