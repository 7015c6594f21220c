"""Two-dimensional Navier–Stokes flow with linear drag and forcing, in vorticity form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from eddyscope.config.arrays import ComplexArray, FloatArray, RealArray
from eddyscope.config.case import Section
from eddyscope.config.registry import Choice
from eddyscope.config.units import Unit
from eddyscope.flows.base import FlowSettings, Response, Traits
from eddyscope.flows.forcing import FORCINGS, NoForcing
from eddyscope.flows.initial import INITIALS, RandomSpectrum
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import At, FusedKernel, Transform

__all__ = ["NavierStokes"]


class PowerOfLaplacian(Section):
    """A linear term of a power of −∇²."""

    order: int
    coefficient: float

    @property
    def words(self) -> str:
        return f"order {self.order}, coefficient {self.coefficient:g}"


class Hyperviscosity(PowerOfLaplacian):
    """`hyperviscosity = {order, coefficient}`."""

    order: int = Field(ge=2, le=32)
    """Power p of −∇² (p = 1 would be the viscosity)."""
    coefficient: Annotated[float, Unit("L^2p/T")] = Field(gt=0.0)
    """ν_h."""


class LargeScaleFriction(PowerOfLaplacian):
    """`friction = {order, coefficient}`."""

    order: int = Field(default=1, ge=1, le=16)
    """Power q of the inverse Laplacian."""
    coefficient: Annotated[float, Unit("1/T")] = Field(gt=0.0)
    """μ, the rate at wavenumber 1."""


class NavierStokes:
    """∂ω/∂t + J(ω, ψ) = ν∇²ω − ν_h(−∇²)^p ω − rω − μ(−∇²)^−q ω − βv − f, dealiased.

    J = (∂xx − ∂yy)(uv) + ∂xy(v² − u²): four transforms a right-hand side, of u, v and two products.
    """

    layers = 1

    class Settings(FlowSettings):
        """∂ω/∂t + J(ω, ψ) = ν∇²ω − ν_h(−∇²)^p ω − rω − μ(−∇²)^−q ω − βv − f."""

        kind: Literal["navier_stokes"] = "navier_stokes"
        reynolds: float = Field(gt=0.0)
        """Re; the viscosity is ν = 1/Re."""
        drag: Annotated[float, Unit("1/T")] = Field(default=0.0, ge=0.0)
        """Rate r of linear drag."""
        beta: Annotated[float, Unit("1/(L T)")] = 0.0
        """Gradient β of the rotation along y; Rossby waves of β > 0 go to smaller x."""
        hyperviscosity: Hyperviscosity | None = None
        """Added to the viscosity: ν_h (−∇²)^p."""
        friction: LargeScaleFriction | None = None
        """Added to the drag, acting on large scales: μ (−∇²)^−q."""
        forcing: Annotated[Any, Choice(FORCINGS)] = NoForcing.Settings()
        """f."""
        initial: Annotated[Any, Choice(INITIALS)] = RandomSpectrum.Settings()
        """ω at t = 0."""

        @property
        def words(self) -> str:
            """Such as "`navier_stokes`, Reynolds number 10000, drag 0.1, left to decay"."""
            hyper, friction = self.hyperviscosity, self.friction
            terms = [
                f"Reynolds number {self.reynolds:g}",
                f"drag {self.drag:g}" if self.drag else "",
                f"β = {self.beta:g}" if self.beta else "",
                f"hyperviscosity ({hyper.words})" if hyper else "",
                f"friction ({friction.words})" if friction else "",
                self.forcing.words,
            ]
            return ", ".join([super().words, *filter(None, terms)])

        @property
        def stirred_at(self) -> float | None:
            found: float | None = self.forcing.stirred_at
            return found

    def __init__(
        self,
        settings: Settings,
        transform: Transform,
        forcing_response: Response | None = None,
        seed: int = 0,
    ):
        self.settings = settings
        self.transform = transform
        self._response = forcing_response
        self._seed = seed
        self.layer_weights = (1.0,) * self.layers
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
        inverse_k2 = (np.where(k2 > 0, 1.0 / nonzero, 0.0) * transform.keep).astype(real)
        self._inverse_k2 = transform.from_host(inverse_k2)
        self._kx, self._ky = map(transform.from_host, (transform.kx.ravel(), transform.ky.ravel()))
        self._forcing = FORCINGS.build(settings.forcing, transform, forcing_response, seed)
        self._max_velocity: RealArray = transform.from_host(np.zeros(transform.spectral_shape[:2]))

    @classmethod
    def traits(cls, settings: Settings) -> Traits:
        """What is known before any grid: `__init__` keeps damping, drag and 1/k², and β's waves."""
        has_waves = bool(settings.beta)
        return Traits(
            factors=3 + has_waves,
            viscosity=1.0 / settings.reynolds,
            layers=cls.layers,
            energy_pairs=cls.layers,
            has_waves=has_waves,
            has_kicks=FORCINGS[settings.forcing.kind].has_kicks,
        )

    @staticmethod
    def check(settings: Settings, grid: Grid) -> None:
        """Raise CaseError where the grid does not resolve the flow. Nothing is computed."""
        FORCINGS[settings.forcing.kind].check(settings.forcing, grid)

    def streamfunction(self, omega_hat: ComplexArray, out: ComplexArray) -> ComplexArray:
        self.transform.loops.multiply(omega_hat, self._inverse_k2, out)
        return out

    def energy_weights(self, k2: FloatArray) -> dict[tuple[int, int], FloatArray]:
        """E = Σ_l Σ_k ½|ω̂_l|²/k²: nothing couples layers."""
        inverse = np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0)
        return {(layer, layer): inverse for layer in range(self.layers)}

    def advection(self, omega_hat: ComplexArray, out: ComplexArray) -> ComplexArray:
        """J = (∂xx − ∂yy)(uv) + ∂xy(v² − u²) with u = ∂ψ/∂y, v = −∂ψ/∂x, as it stands here; by
        the backend's fused kernel, where it has one."""
        if self.transform.fused is not None:
            return self._fused_advection(self.transform.fused, omega_hat, out)
        to_points, to_modes = self.transform.to_points, self.transform.to_modes
        kx, ky, i = self._kx[:, None], self._ky, 1j
        psi_hat = self.streamfunction(omega_hat, self.transform.zeros_spectral())
        u, v = to_points(i * ky * psi_hat), to_points(-i * kx * psi_hat)
        self._max_velocity = self.transform.loops.maxima(abs(u) + abs(v))
        uv_hat, difference_hat = to_modes(u * v), to_modes(v * v - u * u)
        out[...] = (ky * ky - kx * kx) * uv_hat - kx * ky * difference_hat
        return out

    def _fused_advection(
        self, kernel: FusedKernel, omega_hat: ComplexArray, out: ComplexArray
    ) -> ComplexArray:
        """The same, both fields of each transform together, some columns and rows at a time."""
        kx, ky, inverse = self._kx, self._ky, self._inverse_k2[0, 0]
        loops, scale = self.transform.loops, kernel.scale

        def velocity(at: At, one: ComplexArray, other: ComplexArray) -> None:
            part = at[-1]
            loops.velocity_columns(omega_hat[at], inverse[part], kx[part], ky, one, other)

        def advection(at: At, one: ComplexArray, other: ComplexArray) -> None:
            loops.advection_from_products(one, other, kx[at[-1]], ky, scale, out[at])

        self._max_velocity = kernel.map_points(loops.velocity_products, velocity, advection)
        return out

    def _damping(self, k2: FloatArray) -> FloatArray:
        hyper = self.settings.hyperviscosity
        extra = hyper.coefficient * k2**hyper.order if hyper else 0.0
        return k2 / self.settings.reynolds + extra

    def _drag(self, k2: FloatArray) -> FloatArray:
        friction = self.settings.friction
        extra = friction.coefficient * k2 ** (-float(friction.order)) if friction else 0.0
        return self.settings.drag + extra + 0.0 * k2

    def decay_rate(self, k: float) -> float:
        k2 = np.array(float(k) ** 2)
        return float(self._damping(k2) + self._drag(k2))

    def kick(self, omega_hat: ComplexArray, step: int, dt: float) -> None:
        self._forcing.kick(omega_hat, step, dt)

    @property
    def kick_work(self) -> FloatArray | None:
        return self._forcing.kick_work

    def add_forcing(
        self, out: ComplexArray, time: float, step: int, factor: RealArray | float
    ) -> None:
        self._forcing.add(out, time, step, factor)

    def max_velocity(self) -> FloatArray:
        by_layer = self.transform.to_host(self._max_velocity)
        return np.asarray(by_layer.max(axis=1), dtype=np.float64)

    def on(self, transform: Transform) -> NavierStokes:
        return type(self)(self.settings, transform, self._response, self._seed)

    def unforced(self, transform: Transform) -> NavierStokes:
        settings = self.settings.model_copy(update={"forcing": NoForcing.Settings()})
        return type(self)(settings, transform)
