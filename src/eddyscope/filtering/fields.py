"""Filtering of fields that are given: ψ̄, ω̄ and the exact Π of vorticity on n × n points.

The flow's own J, filters and coarse grids are those of a simulation (`filtering/subgrid.py`), of
one member on this rank alone: so the bits do not depend on the number of ranks.
"""

from __future__ import annotations

import numpy as np

from eddyscope.config.arrays import AnyArray, ComplexArray, FloatArray
from eddyscope.filtering.kernels import FilterSettings
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.world import World
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.half_plane import kept_modes
from eddyscope.spectral.registry import TRANSFORMS

__all__ = ["GivenFields"]


class GivenFields:
    """Filters vorticity on the n × n points of the doubly periodic box 2π × 2π.

        Π = J(ω̄, ψ̄) − bar J(ω, ψ),   ∇²ψ = −ω

    Π does not depend on the length of the box; ψ does, as its square. Fields are numpy's, and the
    transform is `fftw`, on CPUs.
    """

    def __init__(self, n: int, settings: FilterSettings, dealias: float = 1.5):
        """n: modes a direction, even. settings: of an entry of FILTERS. Not collective."""
        grid, transform = Grid(n, dealias), TRANSFORMS.settings("fftw")
        mesh = World.single().mesh(members=1, rows=n // 2)
        # Of the flow J alone is used, which knows no viscosity.
        settings_of_flow = FLOWS.settings("navier_stokes", reynolds=1.0)
        self.flow = FLOWS.build(settings_of_flow, TRANSFORMS.build(transform, grid, mesh, 1))
        self._subgrid = Subgrid(self.flow, settings, transform)

    def modes(self, omega: AnyArray) -> tuple[ComplexArray, ComplexArray]:
        """Coefficients of ω (y, x), without its mean and Nyquist modes, and of its J(ω, ψ): each
        of shape (1, 1, kx, ky), as the flow has them."""
        transform = self.flow.transform
        omega_hat = transform.zeros_spectral()
        omega_hat[0, 0] = transform.take(kept_modes(omega.astype(np.float64)))
        return omega_hat, self.flow.advection(omega_hat, transform.zeros_spectral())

    def coarse(
        self, omega_hat: ComplexArray, advection_hat: ComplexArray
    ) -> dict[int, dict[str, FloatArray]]:
        """Coarse grid n -> psi, omega and pi, each (y, x), of what `modes` gives."""
        fields = self._subgrid.sample(omega_hat, advection_hat)
        return {n: {k: v[0] for k, v in of_member[0].items()} for n, of_member in fields.items()}

    def filtered(self, omega: AnyArray) -> dict[int, dict[str, FloatArray]]:
        """Coarse grid n -> psi, omega and pi, each (y, x), of ω (y, x)."""
        return self.coarse(*self.modes(omega))
