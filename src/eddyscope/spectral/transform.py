"""The protocol every transform backend meets, and the table of backends.

A transform knows how the ensemble's fields are laid out on a mesh of ranks. Arrays have
axes (member, layer, y, x) in physical space; `_hat` is spectral. Forward is normalised:
`_hat` holds Fourier coefficients, so the values do not depend on the grid's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from numpy.typing import NDArray
from pydantic import field_validator

from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.parallel.world import Mesh
from eddyscope.spectral.grid import Grid

__all__ = ["ColumnFunction", "Transform", "TransformSettings", "make_transform"]

ColumnFunction = Callable[[slice, Any, Any], None]
"""(part, plus, minus), see `Transform.map_points`."""


class TransformSettings(Section):
    """`[transform]`: how fields are transformed and laid out on the ranks."""

    kind: Literal["mpi4py_fft"] = "mpi4py_fft"
    """Backend."""
    planner: Literal["estimate", "measure"] = "estimate"
    """FFTW's planning: "estimate" gives the same bits on any rank count; "measure" is faster."""
    mesh: Annotated[Literal["auto"] | list[int], CHANGES_NO_RESULT] = "auto"
    """Process mesh [members, y-pencils]; "auto" splits by members as far as that balances."""

    @field_validator("mesh")
    @classmethod
    def _two_numbers(cls, mesh: str | list[int]) -> str | list[int]:
        if isinstance(mesh, list) and (len(mesh) != 2 or min(mesh) < 1):
            raise ValueError('give two positive numbers, [members, y-pencils], or "auto"')
        return mesh


class Transform(Protocol):
    """Fields of an ensemble between their modes and the product grid.

    In physical space a rank has rows (y) of its members; in spectral space it has columns
    (kx), stored in the order (member, layer, kx, ky): ky is contiguous, as in numpy's
    fftfreq, and kx = 0 … n/2 - 1. Nyquist modes are zero.
    """

    grid: Grid
    mesh: Mesh
    physical_shape: tuple[int, ...]
    """This rank's part of a field on the product grid: (member, layer, y, x)."""
    spectral_shape: tuple[int, ...]
    """This rank's part of a field's coefficients: (member, layer, kx, ky)."""
    spectral_total: tuple[int, ...]
    """Shape of the coefficients on all ranks together, and this rank's block of it:"""
    spectral_block: tuple[slice, ...]
    kx: NDArray[Any]
    """Wavenumbers along x of this rank's coefficients, broadcastable to `spectral_shape`."""
    ky: NDArray[Any]
    """Wavenumbers along y, likewise."""
    keep: NDArray[Any]
    """1 on the modes kept (|kx|, |ky| < n/2) and 0 on the Nyquist modes, likewise."""
    weight: NDArray[Any]
    """How many modes of the full plane each coefficient stands for (1 or 2), likewise."""

    scale: float
    """What the coefficients that `map_points` hands to `use` are to be multiplied by."""

    def map_points(
        self,
        function: Callable[[Any, Any], None],
        fill: ColumnFunction = ...,
        use: ColumnFunction = ...,
    ) -> float:
        """Apply a pointwise function on the product grid to two fields a and b of one member.

        fill(part, plus, minus) sets the coefficients a^ + ib^ and a^ − ib^ of the columns `part`
        of kx, axes (kx, ky) with ky padded to the product grid: some columns at a time, which
        are in cache.
        function(points, maxima) changes points = a + ib, axes (y, x), in place, some rows at a
        time (rows of zeros may be added), and may raise maxima, axes (x), which start at 0.
        use(part, plus, minus) may take the coefficients of what came of it, laid out likewise,
        1/`scale` times.
        Gives this rank's largest of maxima. Collective over the pencils; allocates no field.
        """

    def forward(self, field: NDArray[Any], field_hat: NDArray[Any]) -> NDArray[Any]:
        """Coefficients of a field on the product grid, truncated to n modes. Collective."""

    def backward(self, field_hat: NDArray[Any], field: NDArray[Any]) -> NDArray[Any]:
        """The field on the product grid; `field_hat` is kept as it is. Collective."""

    def take(self, coefficients: NDArray[Any]) -> NDArray[Any]:
        """This rank's part, axes (kx, ky), of one whole field's coefficients.

        `coefficients` are on the half plane, axes (ky, kx), shape (n, n/2 + 1), ky as in
        numpy's fftfreq. Not collective.
        """

    def gather(self, field_hat: NDArray[Any], n: int) -> dict[int, NDArray[Any]]:
        """Whole coefficients of layer 0 truncated to n modes: member -> shape (n, n/2 + 1).

        The ranks that share members share out whole fields between them: each gets the
        members it owns (`owned`). Nyquist modes are zero. Collective over the pencils.
        """

    def gather_columns(
        self, fields_hat: Sequence[NDArray[Any]], n: int, turn: int = 0
    ) -> dict[int, NDArray[Any]]:
        """Several fields as `gather` has them, but in this transform's own order: member ->
        shape (field, n/2, n), axes (field, kx, ky).

        The first member goes to rank `turn` of those that share members, and so on in turns.
        Collective over the pencils.
        """

    @property
    def owned(self) -> list[int]:
        """Members whose whole fields this rank gets from `gather`."""

    def empty_physical(self) -> NDArray[Any]:
        """An uninitialised array of `physical_shape`."""

    def zeros_spectral(self) -> NDArray[Any]:
        """A zero array of `spectral_shape`."""


def make_transform(
    settings: TransformSettings, grid: Grid, mesh: Mesh, wisdom: Path | None = None
) -> Transform:
    """The transform that `settings.kind` names. Collective over the mesh.

    `wisdom`: folder where what planner = "measure" found is kept, and looked up.
    """
    from eddyscope.spectral.backends.pencil import PencilTransform

    return PencilTransform(grid, mesh, settings.planner, wisdom)
