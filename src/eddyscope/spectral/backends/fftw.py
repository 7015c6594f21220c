"""CPU transforms: FFTW's plans by way of mpi4py-fft, put together so that every transform runs
along contiguous memory.

    columns (kx, ky)    some at a time, filled in cache
      | c2c along y
    columns (kx, y)     those that the rank has, all y
      | transpose       only where a field is split over several ranks, and then of others' part
    columns (kx, y)     all kx, the y that the rank has
      | block by block of a few rows, small enough to stay in cache:
      |   copy to (y, kx), c2c along x of both fields as one, a pointwise function, and back
    columns (kx, y)     and back the same way

Only the n/2 columns of modes that are kept exist, so what dealiasing drops is neither sent
nor stored, and no field in physical space is ever stored whole.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from eddyscope.config.arrays import AnyArray, ComplexArray, FloatArray, RealArray
from eddyscope.parallel.world import Mesh
from eddyscope.spectral.backends.wisdom import kept_wisdom
from eddyscope.spectral.distribution import Distribution, Share, edges
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import At, ColumnFunction, PointFunction, TransformSettings

__all__ = ["Fftw"]

CACHE = 2**18
"""Bytes that the columns at work may take: within the second-level cache of current processors."""

ROWS = 24
"""Rows of a block: a multiple of 8, so that those of a column fill whole lines of the cache, and
enough for the memory to foresee the next line. As many on any rank, so that FFTW plans the same."""

FIELDS = 2
"""Fields that are transformed as one."""


def columns_at_work(grid: Grid) -> int:
    """As many columns at a time on any rank, so that FFTW plans the same everywhere."""
    fitting = CACHE // (FIELDS * grid.n_product * grid.complex.itemsize)
    return max(1, min(fitting, max(16, grid.n // 8)))


OfField = Callable[[slice, ComplexArray, ComplexArray], None]
"""(columns, plus, minus): a ColumnFunction of one field."""


def leave(at: At, plus: ComplexArray, minus: ComplexArray) -> None:
    """Do nothing to the columns."""


def of_field(function: ColumnFunction, member: int, layer: int) -> OfField:
    """The function of one layer of one member."""

    def of_columns(columns: slice, plus: ComplexArray, minus: ComplexArray) -> None:
        function((member, layer, columns), plus, minus)

    return of_columns


nothing = of_field(leave, 0, 0)


class Fftw(Distribution):
    """See `spectral.transform.Transform` and `FusedKernel`: it is both."""

    class Settings(TransformSettings):
        """FFTW's plans, field by field in blocks that stay in cache; over ranks of any number."""

        kind: Literal["fftw"] = "fftw"
        planner: Literal["estimate", "measure"] = "estimate"
        """FFTW's planning: "estimate" gives the same bits on any rank count; "measure" is
        faster."""

        def estimated(self) -> TransformSettings:
            return self.model_copy(update={"planner": "estimate"})

    def __init__(
        self,
        settings: Settings,
        grid: Grid,
        mesh: Mesh,
        layers: int = 1,
        wisdom: Path | None = None,
    ):
        """wisdom: folder where what planner = "measure" found is kept, and looked up.
        Collective over the mesh."""
        from eddyscope.spectral.kernels import transposes

        ranks = mesh.pencil_comm.size
        super().__init__(
            grid, mesh, layers, edges(grid.n // 2, ranks), edges(grid.n_product, ranks)
        )
        self.scale = 1.0 / grid.n_product**2
        self._copies = transposes
        with kept_wisdom(wisdom if settings.planner == "measure" else None, grid, mesh):
            self._plan(settings.planner)

    @staticmethod
    def memory(grid: Grid, share: Share) -> int:
        """Bytes that it keeps: two fields in columns, and as they arrive from other ranks; the
        columns and rows at work; the modes kept."""
        outgoing = FIELDS * share.columns * grid.n_product
        incoming = FIELDS * share.rows * (grid.n // 2 - share.columns)  # none on a rank alone
        at_work = ((FIELDS + 1) * columns_at_work(grid) + 2 * ROWS) * grid.n_product
        kept = share.columns * grid.n * grid.real.itemsize
        return (outgoing + incoming + at_work) * grid.complex.itemsize + kept

    @property
    def fused(self) -> Fftw:
        return self

    def _plan(self, planner: str) -> None:
        """Work arrays, FFTW plans on them, and the transfer between the two pencil layouts.

        All plans are out of place: FFTW's estimates are better there than in place.
        """
        from mpi4py_fft import fftw

        effort = fftw.FFTW_MEASURE if planner == "measure" else fftw.FFTW_ESTIMATE
        n_product, kind = self.grid.n_product, self.grid.complex.char
        kept, alone = self.spectral_shape[2], self.mesh.pencil_comm.size == 1
        self._outgoing = fftw.aligned((FIELDS * kept * n_product,), dtype=kind, fill=0)
        width = columns_at_work(self.grid)
        self._parts = [slice(at, min(at + width, kept)) for at in range(0, kept, width)]
        self._padded = fftw.aligned((FIELDS, width, n_product), dtype=kind, fill=0)
        self._columns = fftw.aligned((width, n_product), dtype=kind, fill=0)
        # Where nothing is sent, most columns go to and from their places directly.
        fields = self._outgoing.reshape(FIELDS, kept, n_product)
        whole = self._parts[: kept // width] if alone else []
        self._places = [[field[part] for part in whole] for field in fields]
        # FFTW wants 16 bytes and every column has them, but mpi4py-fft insists on as many (up
        # to 32) as the arrays that were planned on: so plan on columns with the fewest.
        columns = min([self._columns, *chain(*self._places)], key=fftw.get_alignment)
        padded = min(self._padded, key=fftw.get_alignment)
        self._along_y = (
            fftw.fftn(columns, output_array=padded, axes=(1,), flags=(effort,)),
            fftw.ifftn(padded, output_array=columns, axes=(1,), flags=(effort,)),
        )
        self._modes = fftw.aligned((ROWS, n_product), dtype=kind, fill=0)
        self._points = fftw.aligned((ROWS, n_product), dtype=kind, fill=0)
        self._along_x = (
            fftw.fftn(self._points, output_array=self._modes, axes=(1,), flags=(effort,)),
            fftw.ifftn(self._modes, output_array=self._points, axes=(1,), flags=(effort,)),
        )
        for array in (self._outgoing, self._padded, self._columns, self._modes, self._points):
            array[...] = 0  # planning may have left rubbish behind
        self._maxima = np.zeros(n_product, self.grid.real)
        self._lay_out_messages()

    def _lay_out_messages(self) -> None:
        """Who sends what to whom: plain buffers, since MPI moves what has strides piece by piece
        (with mpi4py-fft's transfers, of derived datatypes, it took 2 to 16 times as long)."""
        pencils = self.mesh.pencil_comm
        kept, height = self.spectral_shape[2], self.physical_shape[2]
        to = FIELDS * kept * np.diff(self._row_edges)
        of = FIELDS * height * np.diff(self._column_edges)
        begin = FIELDS * kept * self._row_edges[pencils.rank]
        own = self._outgoing[begin : begin + to[pencils.rank]]
        to[pencils.rank] = of[pencils.rank] = 0  # stays where it is, and is read from there
        self._own = own.reshape(FIELDS, kept, height)
        self._incoming = np.zeros(of.sum(), self.grid.complex)
        self._out = (self._outgoing, (to, FIELDS * kept * self._row_edges[:-1]))
        self._in = (self._incoming, (of, np.cumsum(of) - of))

    def map_points(
        self, function: PointFunction, fill: ColumnFunction = leave, use: ColumnFunction = leave
    ) -> FloatArray:
        largest = np.zeros(self.spectral_shape[:2])
        for at in np.ndindex(*largest.shape):
            largest[at] = self._sweep(function, of_field(fill, *at), of_field(use, *at))
        return largest

    def _sweep(
        self, function: PointFunction, fill: OfField = nothing, use: OfField = nothing
    ) -> float:
        """`map_points` of one layer of one member."""
        for number, part in enumerate(self._parts):
            fill(part, *self._padded[:, : part.stop - part.start])
            self._transform_to_y(number, part)
        self.transpose()
        self._maxima[...] = 0
        modes, points = self._modes, self._points
        columns = self._own, self._incoming, self.mesh.pencil_comm.rank, self._column_edges
        total = self.physical_shape[2]
        for first in range(0, total, ROWS):
            rows = min(ROWS, total - first)
            self._copies.columns_to_rows(*columns, modes, first, rows)
            self._along_x[1](modes, points)
            function(points, self._maxima)
            self._along_x[0](points, modes)
            self._copies.rows_to_columns(*columns, modes, first, rows)
        self.transpose_back()
        for number, part in enumerate(self._parts):
            self._transform_from_y(number, part)
            use(part, *self._padded[:, : part.stop - part.start])
        return float(self._maxima.max())

    def transpose(self) -> None:
        """Both fields from columns to rows. Collective over the pencils."""
        if self.mesh.pencil_comm.size > 1:
            self.mesh.pencil_comm.Alltoallv(self._out, self._in)

    def transpose_back(self) -> None:
        """From rows to columns, likewise."""
        if self.mesh.pencil_comm.size > 1:
            self.mesh.pencil_comm.Alltoallv(self._in, self._out)

    def _transform_to_y(self, number: int, part: slice) -> None:
        """The padded columns of both fields, `part` of them, from ky to y and to their places."""
        plan, columns, kept = self._along_y[1], self._columns, self.spectral_shape[2]
        for f, (padded, places) in enumerate(zip(self._padded, self._places, strict=True)):
            if number < len(places):
                plan(padded, places[number])
            else:
                plan(padded, columns)
                count = part.stop - part.start
                message = self._outgoing, f, part.start, kept, self._row_edges
                self._copies.pack(columns[:count], *message)

    def _transform_from_y(self, number: int, part: slice) -> None:
        """The inverse of `_transform_to_y`, `scale` left out."""
        plan, columns, kept = self._along_y[0], self._columns, self.spectral_shape[2]
        for f, (padded, places) in enumerate(zip(self._padded, self._places, strict=True)):
            if number < len(places):
                plan(places[number], padded)
            else:
                count = part.stop - part.start
                message = self._outgoing, f, part.start, kept, self._row_edges
                self._copies.unpack(columns[:count], *message)
                plan(columns, padded)

    def to_modes(self, field: RealArray) -> ComplexArray:
        field_hat = np.zeros((*field.shape[:-2], *self.spectral_shape[2:]), self.grid.complex)
        for at in np.ndindex(field.shape[:-2]):
            self._forward(field[at], field_hat[at])
        return field_hat

    def to_points(self, field_hat: ComplexArray) -> RealArray:
        field = np.empty((*field_hat.shape[:-2], *self.physical_shape[2:]), self.grid.real)
        for at in np.ndindex(field_hat.shape[:-2]):
            self._backward(field_hat[at], field[at])
        return field

    def _forward(self, field: RealArray, modes: ComplexArray) -> None:
        half, blocks = self.grid.n // 2, iter(_row_blocks(field))

        def read(points: ComplexArray, _: RealArray) -> None:
            source = next(blocks)
            points[: len(source)] = source

        def truncate(part: slice, plus: ComplexArray, _: ComplexArray) -> None:
            modes[part, :half] = plus[:, :half] * self.scale
            modes[part, half] = 0
            modes[part, half + 1 :] = plus[:, 1 - half :] * self.scale

        self._sweep(read, use=truncate)

    def _backward(self, modes: ComplexArray, field: RealArray) -> None:
        half, blocks = self.grid.n // 2, iter(_row_blocks(field))

        def pad(part: slice, *both: ComplexArray) -> None:
            for columns in both:
                columns[:, :half] = modes[part, :half]
                columns[:, half : 1 - half] = 0
                columns[:, 1 - half :] = modes[part, half + 1 :]

        def write(points: ComplexArray, _: RealArray) -> None:
            target = next(blocks)
            target[...] = points[: len(target)].real

        self._sweep(write, fill=pad)


def _row_blocks(field: AnyArray) -> list[AnyArray]:
    """The rows of a field (y, x) as `_sweep` comes by them."""
    return [field[first : first + ROWS] for first in range(0, len(field), ROWS)]
