"""The subgrid term of numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import numpy as np

from eddyscope.api.checks import (
    Choosing,
    require_no_mean,
    square_field,
    validated,
    with_arguments,
)
from eddyscope.config.arrays import AnyArray, FloatArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.registry import Choice
from eddyscope.filtering.fields import GivenFields
from eddyscope.filtering.kernels import FILTERS

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
        its Nyquist modes are left out. An array of main memory: of a tensor on a GPU give
        `omega.cpu()`, and what comes back is numpy's.
    n: points a side of the coarse grid, even, from 4 to N.
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
    if not isinstance(n, int | np.integer) or n % 2 or not 4 <= n <= points:
        raise CaseError(
            f"n = {n!r}: give an even whole number from 4 to the {points} points of omega"
        )
    with with_arguments({"filter.width": "width"}):
        settings = validated(Chosen, {"filter": _table(filter, int(n), width)})
    filtering = _filtering(points, settings.filter.model_dump_json())
    made = [filtering.filtered(each)[n] for each in field.reshape(-1, points, points)]
    shape = (*field.shape[:-2], n, n)
    names = Filtered._fields
    return Filtered(*(np.stack([fields[k] for fields in made]).reshape(shape) for k in names))


def _table(filter: Choosing, n: int, width: float) -> object:
    """The filter as a table of a case file. CaseError where it says what an argument says."""
    if isinstance(filter, str):
        return {"kind": filter, "n": [n], "width": width}
    given: object = filter
    if not isinstance(given, Mapping):
        return given
    said = given.keys() & {"n", "width"}
    if said:
        raise CaseError(f"filter names {', '.join(sorted(said))}; give it as an argument instead")
    return {**given, "n": [n], "width": width}


class Chosen(Section):
    """A filter, as `[filter]` of a case file."""

    filter: Annotated[Any, Choice(FILTERS)]


@lru_cache(maxsize=4)
def _filtering(points: int, settings: str) -> GivenFields:
    # Kept, since each makes communicators of its own, of which MPI has a limited number.
    chosen = Chosen.model_validate_json(f'{{"filter": {settings}}}')
    return GivenFields(points, chosen.filter)
