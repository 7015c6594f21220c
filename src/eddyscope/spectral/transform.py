"""What a transform is: the plain protocol that every backend meets, and the fused kernel that a
backend may offer beside it. The backends are in `spectral/backends/`, their table in
`spectral/registry.py`.

A transform knows how the ensemble's fields are laid out on a mesh of ranks. Arrays have axes
(member, layer, y, x) in physical space; `_hat` is spectral. Forward is normalised: `_hat` holds
Fourier coefficients, so the values do not depend on the grid's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Protocol

from pydantic import field_validator

from eddyscope.config.arrays import AnyArray, ComplexArray, FloatArray, RealArray
from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.parallel.world import Comm, Mesh, check_mesh, choose_mesh
from eddyscope.spectral.distribution import Share
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.kernels.loops import Loops

__all__ = [
    "At", "ColumnFunction", "FusedKernel", "PointFunction", "Transform", "TransformSettings",
]  # fmt: skip


class TransformSettings(Section):
    """`[transform]`: how fields are transformed and laid out on the ranks."""

    mesh: Annotated[Literal["auto"] | list[int], CHANGES_NO_RESULT] = "auto"
    """Process mesh [members, y-pencils]; "auto" splits by members as far as that balances."""

    @field_validator("mesh")
    @classmethod
    def _two_numbers(cls, mesh: str | list[int]) -> str | list[int]:
        if isinstance(mesh, list) and (len(mesh) != 2 or min(mesh) < 1):
            raise ValueError('give two positive numbers, [members, y-pencils], or "auto"')
        return mesh

    @property
    def shape(self) -> tuple[int, int] | None:
        """The mesh as `World.mesh` takes it: None for "auto"."""
        return None if self.mesh == "auto" else (self.mesh[0], self.mesh[1])

    def mesh_shape(self, ranks: int, members: int, columns: int) -> tuple[int, int]:
        """The process mesh (members, y-pencils) on so many ranks. CaseError if none fits."""
        if self.shape is None:
            return choose_mesh(ranks, members, columns)
        check_mesh(self.shape, ranks, members, columns)
        return self.shape

    def check(self) -> None:
        """Raise CaseError for what this machine has not. Not collective."""

    @property
    def remark(self) -> str:
        """What a plan should say of it, in half a sentence; empty where that is nothing. Not
        collective."""
        return ""

    def uses_gpu(self) -> bool:
        """Whether it computes on a GPU. Not collective."""
        return False

    def device_memory(self, grid: Grid, share: Share) -> int:
        """Bytes of a GPU that a transform takes at the peak; 0 where it computes on CPUs. Not
        collective."""
        return 0

    def in_batches(self) -> bool:
        """Whether members that know nothing of each other are best advanced together, as on a GPU,
        and not one after the other. Not collective."""
        return False

    def prepare(self, comm: Comm) -> None:
        """Settle what ranks must know of each other before any makes a transform, even one of its
        own. Collective."""

    def estimated(self) -> TransformSettings:
        """The same backend, planned without measuring: what a small grid or a draft needs."""
        return self


At = tuple[int | slice, int | slice, slice]
"""Some columns of some fields (member, layer, kx, ky), as an index."""

ColumnFunction = Callable[[At, ComplexArray, ComplexArray], None]
"""(at, one, other), see `FusedKernel.map_points`."""

PointFunction = Callable[[ComplexArray, RealArray], None]
"""(points, maxima), see `FusedKernel.map_points`."""


class Transform(Protocol):
    """Fields of an ensemble between their modes and the product grid.

    In physical space a rank has rows (y) of its members; in spectral space it has columns
    (kx), stored in the order (member, layer, kx, ky): ky is contiguous, as in numpy's
    fftfreq, and kx = 0 … n/2 - 1. Nyquist modes are zero.

    Fields are arrays of the transform's own kind, which may lie on a device. What handles them
    uses operators, indices, `out[...] =` and the transform's `loops`, so that it serves all kinds;
    `to_host` and `from_host` alone go over to numpy's arrays and come from there. Wavenumbers and
    what follows from them are numpy's until `from_host`.
    """

    grid: Grid
    mesh: Mesh
    layers: int
    """Layers of every field."""
    physical_shape: tuple[int, int, int, int]
    """This rank's part of a field on the product grid: (member, layer, y, x)."""
    spectral_shape: tuple[int, int, int, int]
    """This rank's part of a field's coefficients: (member, layer, kx, ky)."""
    spectral_total: tuple[int, int, int, int]
    """Shape of the coefficients on all ranks together, and this rank's block of it:"""
    spectral_block: tuple[slice, slice, slice, slice]
    kx: RealArray
    """Wavenumbers along x of this rank's coefficients, shape (1, 1, kx, 1)."""
    ky: RealArray
    """Wavenumbers along y, shape (1, 1, 1, ky)."""
    keep: RealArray
    """1 on the modes kept (|kx|, |ky| < n/2) and 0 on the Nyquist modes, shape (1, 1, kx, ky)."""
    weight: RealArray
    """How many modes of the full plane each coefficient stands for (1 or 2), like kx."""

    loops: Loops
    """The loops over such arrays."""
    together: Sequence[tuple[int | slice, int | slice]]
    """Members and layers of a field, as indices, that go through a loop at a time: each by itself,
    whose bits then never depend on the others; all on a GPU."""
    on_host: bool
    """Whether they are numpy's."""
    at_once: int
    """Members that a coarse grid's transform should hold, of those that lie whole on a rank: 1,
    or all of them, where one at a time would be slow."""

    has_pencils: bool
    """Whether ranks can share a member's fields: known of the class."""

    def from_host(self, array: AnyArray) -> AnyArray:
        """A numpy array, of any type and shape, as one of this transform's kind. Not collective."""

    def to_host(self, array: AnyArray) -> AnyArray:
        """An array of this transform's kind as numpy's, to be read only. Not collective."""

    @property
    def fused(self) -> FusedKernel | None:
        """The backend's fused kernel, where it has one."""

    def to_points(self, field_hat: ComplexArray) -> RealArray:
        """Fields on the product grid, axes (…, y, x), from coefficients (…, kx, ky), which are
        kept as they are. Collective over the pencils, with the same leading axes on all."""

    def to_modes(self, field: RealArray) -> ComplexArray:
        """Coefficients (…, kx, ky) of fields on the product grid (…, y, x), truncated to n
        modes. Collective over the pencils, with the same leading axes on all."""

    def zeros_spectral(self) -> ComplexArray:
        """A zero array of `spectral_shape`."""

    def take(self, coefficients: ComplexArray) -> ComplexArray:
        """This rank's part, axes (…, kx, ky), of whole fields' coefficients on the half plane,
        numpy's, axes (…, ky, kx), see `spectral/half_plane.py`. Not collective."""

    def to_own_points(self, field_hat: ComplexArray) -> RealArray:
        """Fields on the n × n points of the grid's own modes, axes (…, y, x), from coefficients
        (…, kx, ky). For whole members: not collective, and not for a field split by pencils."""

    def from_own_points(self, field: RealArray) -> ComplexArray:
        """The inverse, likewise; without mean and Nyquist modes."""

    def gather(self, field_hat: ComplexArray, n: int) -> dict[int, ComplexArray]:
        """Whole coefficients truncated to n modes on the half plane, as numpy's arrays: member ->
        (layer, ky, kx).

        The ranks that share members share out whole members between them: each gets those
        that it owns (`owned`). Nyquist modes are zero. Collective over the pencils.
        """

    def gather_columns(
        self, fields_hat: Sequence[ComplexArray], n: int, turn: int = 0
    ) -> dict[int, ComplexArray]:
        """Several fields as `gather` has them, but in this transform's own order: member ->
        axes (field, layer, kx, ky) with kx = 0 … n/2 - 1.

        The first member goes to rank `turn` of those that share members, and so on in turns.
        Collective over the pencils.
        """

    @property
    def owned(self) -> list[int]:
        """Members whose whole fields this rank gets from `gather`."""


class FusedKernel(Protocol):
    """Two transforms back, a pointwise function and two forward as one sweep through memory, for
    hot loops. A flow that uses it is tested against its plain form."""

    scale: float
    """What the coefficients that `map_points` hands to `use` are to be multiplied by."""

    def map_points(
        self, function: PointFunction, fill: ColumnFunction = ..., use: ColumnFunction = ...
    ) -> FloatArray:
        """Apply a pointwise function on the product grid to two fields a and b of each layer of
        each member.

        fill(at, one, other) sets the coefficients of `at`, axes (…, kx, ky) with ky padded to the
        product grid: some columns of one field at a time, which are in cache, or all at once.
        function(points, maxima) changes points in place, some rows at a time (rows of zeros may
        be added) or all at once, and may raise maxima, which start at 0.
        use(at, one, other) may take the coefficients of what came of it, laid out likewise,
        1/`scale` times.
        How a and b lie in one, other and points is known to the transform's `loops`, which are
        what these functions are made of: on a CPU one and other are a^ ± ib^ and points are a + ib.
        Gives this rank's largest of maxima, (member, layer). Collective over the pencils; `fftw`
        allocates no field.
        """
