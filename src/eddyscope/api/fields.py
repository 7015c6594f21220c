"""The subgrid term of numpy arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import numpy as np

from eddyscope.api.checks import Choosing, alone, require_no_mean, square_field, validated
from eddyscope.config.arrays import AnyArray, FloatArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.registry import Choice
from eddyscope.filtering.kernels import FILTERS, FilterSettings
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.flows.registry import FLOWS
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.half_plane import kept_modes
from eddyscope.spectral.registry import TRANSFORMS

__all__ = ["Filtered", "subgrid"]


class Filtered(NamedTuple):
    """Fields on the n × n points of the coarse grid, each (…, y, x), float64."""

    psi: FloatArray
    """ψ̄, with ∇²ψ̄ = −ω̄."""
    omega: FloatArray
    """ω̄."""
    pi: FloatArray
    """Π, which is added to the right-hand side of the LES."""


def subgrid(omega: AnyArray, n: int, filter: Choosing = "gaussian", width: float = 2.0) -> Filtered:
    """The exact subgrid term of vorticity on the periodic box 2π × 2π, and the filtered fields.

        Π = J(ω̄, ψ̄) − bar J(ω, ψ),   J = u·∇ω,   u = ∂ψ/∂y, v = −∂ψ/∂x,   ∇²ψ = −ω

    with both J dealiased (3/2 rule), a bar for the filter and the cut to the modes |k| < n/2.

    omega: vorticity at equal distances, axes (…, y, x), shape (…, N, N), N even; its mean is 0, and
        its Nyquist modes are left out.
    n: points a side of the coarse grid, even, at most N.
    filter: "gaussian", exp(−k²Δ²/24), "box", "sharp", or another of `eddyscope settings filter`.
    width: Δ in spacings 2π/n of the coarse grid.

    Gives (psi, omega, pi), each (…, n, n). Raises CaseError for other input.

    >>> import numpy as np, eddyscope
    >>> x = np.arange(64) * (2 * np.pi / 64)
    >>> omega = np.cos(3 * x) + np.sin(4 * x)[:, None] * np.cos(x)
    >>> psi, omega_bar, pi = eddyscope.subgrid(omega, n=16)
    >>> pi.shape
    (16, 16)
    """
    field = square_field(omega, "omega")
    require_no_mean(field, "omega")
    points = field.shape[-1]
    if not isinstance(n, int | np.integer) or n > points:
        raise CaseError(f"n = {n}: give a whole number, at most the {points} points of omega")
    table = {"kind": filter} if isinstance(filter, str) else dict(filter)
    settings = validated(Chosen, {"filter": {**table, "n": [int(n)], "width": width}})
    filtering = _filtering(points, settings.filter.model_dump_json())
    made = [filtering.of(each) for each in field.reshape(-1, points, points)]
    shape = (*field.shape[:-2], n, n)
    return Filtered(*(np.stack([fields[i] for fields in made]).reshape(shape) for i in range(3)))


class Chosen(Section):
    """A filter, as `[filter]` of a case file."""

    filter: Annotated[Any, Choice(FILTERS)]


class _Filtering:
    """One flow on a fine grid and its coarse grid, kept for the next field."""

    def __init__(self, points: int, settings: FilterSettings):
        transform_settings = TRANSFORMS.settings("fftw")
        mesh = alone().mesh(members=1, rows=points // 2)
        transform = TRANSFORMS.build(transform_settings, Grid(points), mesh, 1)
        flow_settings = FLOWS.settings("navier_stokes", reynolds=1.0)  # J does not depend on it
        self.n = settings.n[0]
        self.flow = FLOWS.build(flow_settings, transform)
        self.subgrid = Subgrid(self.flow, settings, transform_settings)
        self.omega_hat, self.advection_hat = transform.zeros_spectral(), transform.zeros_spectral()

    def of(self, omega: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """ψ̄, ω̄ and Π, each (n, n), of vorticity (y, x)."""
        self.omega_hat[0, 0] = self.flow.transform.take(kept_modes(omega))
        self.flow.advection(self.omega_hat, self.advection_hat)
        fields = self.subgrid.sample(self.omega_hat, self.advection_hat)[self.n][0]
        return fields["psi"][0], fields["omega"][0], fields["pi"][0]


@lru_cache(maxsize=4)
def _filtering(points: int, settings: str) -> _Filtering:
    # Kept, since each makes communicators of its own, of which MPI has a limited number.
    chosen = Chosen.model_validate_json(f'{{"filter": {settings}}}')
    return _Filtering(points, chosen.filter)
