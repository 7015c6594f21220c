"""CPU transforms from mpi4py-fft's parts: FFTW plans, pencils and transfers, put together so
that every transform runs along contiguous memory.

    columns (kx, y)     pencils of kx, y contiguous      c2c along y, in place, some at a time
      | transfer        only where a field is split over several ranks, and then of others' columns
    columns (kx, y)     pencils of y
      | block by block of a few rows, small enough to stay in cache:
      |   copy to (y, kx), c2c along x of both fields as one, a pointwise function, and back
    columns (kx, y)     and back the same way

Only the n/2 columns of modes that are kept exist, so what dealiasing drops is neither sent
nor stored, and no field in physical space is ever stored whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py_fft import fftw
from mpi4py_fft.pencil import Pencil, Subcomm
from numpy.typing import NDArray

from eddyscope.parallel.world import Mesh, block
from eddyscope.spectral.backends.blocks import put_block, take_block
from eddyscope.spectral.backends.wisdom import kept_wisdom
from eddyscope.spectral.grid import Grid

__all__ = ["PencilTransform"]

EFFORT = {"estimate": fftw.FFTW_ESTIMATE, "measure": fftw.FFTW_MEASURE}

CACHE = 2**19
"""Bytes that a part of the columns may take: within the second-level cache of current
processors."""

ROWS = 24
"""Rows of a block: a multiple of 8, so that those of a column fill whole lines of the cache, and
enough for the memory to foresee the next line. As many on any rank, so that FFTW plans the same."""


def leave(part: slice) -> None:
    """Do nothing to the columns."""


class PencilTransform:
    """See `spectral.transform.Transform`. Making one is collective over the mesh."""

    fields = 2

    def __init__(self, grid: Grid, mesh: Mesh, planner: str, wisdom: Path | None = None):
        self.grid = grid
        self.mesh = mesh
        self.scale = 1.0 / grid.n_product**2
        pencils, n, n_product = mesh.pencil_comm, grid.n, grid.n_product
        mine = block(n // 2, pencils.size, pencils.rank)
        self._rows = block(n_product, pencils.size, pencils.rank)
        members = mesh.members.stop - mesh.members.start
        self.physical_shape: tuple[int, ...] = (
            members,
            1,
            self._rows.stop - self._rows.start,
            n_product,
        )
        self.spectral_shape: tuple[int, ...] = (members, 1, mine.stop - mine.start, n)
        self.spectral_total: tuple[int, ...] = (mesh.ensemble, 1, n // 2, n)
        self.spectral_block: tuple[slice, ...] = (mesh.members, slice(0, 1), mine, slice(0, n))
        ky = np.fft.fftfreq(n, 1.0 / n)
        self.ky = ky.astype(grid.real).reshape(1, 1, 1, -1)
        self.kx = np.arange(mine.start, mine.stop).astype(grid.real).reshape(1, 1, -1, 1)
        kept = np.broadcast_to(np.abs(self.ky) < n / 2, (1, 1, self.kx.size, n))
        self.keep = kept.astype(grid.real)
        self.weight = np.where(self.kx > 0, 2.0, 1.0).astype(grid.real)
        with kept_wisdom(wisdom if planner == "measure" else None, grid, mesh):
            self._plan(EFFORT[planner])

    def _plan(self, effort: int) -> None:
        """Work arrays, FFTW plans on them, and the transfer between the two pencil layouts."""
        n_product, kind = self.grid.n_product, self.grid.complex.char
        pencils, kept = self.mesh.pencil_comm, self.spectral_shape[2]
        self.columns = fftw.aligned((self.fields, kept, n_product), dtype=kind, fill=0)
        # As many columns at a time on any rank, so that FFTW plans the same everywhere.
        width = max(1, CACHE // (self.fields * n_product * self.grid.complex.itemsize))
        self._parts = [slice(at, min(at + width, kept)) for at in range(0, kept, width)]
        self._last = fftw.aligned((width, n_product), dtype=kind, fill=0)
        # FFTW wants 16 bytes and every column has them, but mpi4py-fft insists on as many (up
        # to 32) as the array that was planned on: so plan on columns with the fewest.
        whole = [field[part] for field in self.columns for part in self._parts[: kept // width]]
        one = min([self._last, *whole], key=fftw.get_alignment)
        self._along_y = (
            fftw.fftn(one, output_array=one, axes=(1,), flags=(effort,)),
            fftw.ifftn(one, output_array=one, axes=(1,), flags=(effort,)),
        )
        self._block = fftw.aligned((ROWS, n_product), dtype=kind, fill=0)
        rows = self._block
        self._along_x = (
            fftw.fftn(rows, output_array=rows, axes=(1,), flags=(effort,)),
            fftw.ifftn(rows, output_array=rows, axes=(1,), flags=(effort,)),
        )
        rows[...] = 0  # planning may have left rubbish behind
        self.columns[...] = 0
        self._last[...] = 0
        self._maxima = np.zeros(n_product, self.grid.real)
        self._transfer = None
        self._others = np.zeros((self.fields, kept, 0), self.grid.complex)
        if pencils.size > 1:
            total = (self.fields, self.grid.n // 2, n_product)
            of_kx = Pencil(Subcomm(pencils, [1, pencils.size, 1]), total, axis=2)
            of_y = of_kx.pencil(1)
            self._transfer = of_kx.transfer(of_y, kind)
            # What a rank would send to itself stays where it is, and is read from there.
            counts, _ = self._transfer._counts_displs
            counts[pencils.rank] = 0
            self._others = np.zeros(of_y.subshape, self.grid.complex)

    def map_points(
        self,
        function: Callable[[Any, Any], None],
        fill: Callable[[slice], None] = leave,
        use: Callable[[slice], None] = leave,
    ) -> float:
        for part in self._parts:
            fill(part)
            self._columns_along_y(part, 1)
        if self._transfer is not None:
            self._transfer.forward(self.columns, self._others)
        self._maxima[...] = 0
        points = self._block
        begin, top = self.spectral_block[2].start, self._rows.start
        mine = self.columns, self._others, begin, top
        total, depth = self.physical_shape[2], len(points)
        for first in range(0, total, depth):
            rows = min(depth, total - first)
            take_block(*mine, points, first, rows)
            self._along_x[1](points, points)
            function(points, self._maxima)
            self._along_x[0](points, points)
            put_block(*mine, points, first, rows)
        if self._transfer is not None:
            self._transfer.backward(self._others, self.columns)
        for part in self._parts:
            self._columns_along_y(part, 0)
            use(part)
        return float(self._maxima.max())

    def exchange(self, times: int = 1) -> None:
        """What `map_points` sends between ranks, there and back, by itself: for benchmarks."""
        for _ in range(times):
            if self._transfer is not None:
                self._transfer.forward(self.columns, self._others)
                self._transfer.backward(self._others, self.columns)

    def _columns_along_y(self, part: slice, direction: int) -> None:
        plan, last, count = self._along_y[direction], self._last, part.stop - part.start
        for field in self.columns:
            if count == len(last):
                plan(field[part], field[part])
            else:  # fewer than the plan is for
                last[:count] = field[part]
                plan(last, last)
                field[part] = last[:count]

    def forward(self, field: NDArray[Any], field_hat: NDArray[Any]) -> NDArray[Any]:
        for i in range(self.physical_shape[0]):
            rows = iter(self._row_blocks(field[i, 0]))

            def read(points: NDArray[Any], _: Any, rows: Any = rows) -> None:
                source = next(rows)
                points[: len(source)] = source

            self.columns[...] = 0
            self.map_points(read)
            field_hat[i, 0] = self._truncated(self.columns[0]) * self.scale
        return field_hat

    def backward(self, field_hat: NDArray[Any], field: NDArray[Any]) -> NDArray[Any]:
        for i in range(self.physical_shape[0]):
            rows = iter(self._row_blocks(field[i, 0]))

            def write(points: NDArray[Any], _: Any, rows: Any = rows) -> None:
                target = next(rows)
                target[...] = points[: len(target)].real

            self.columns[...] = 0
            half = self.grid.n // 2
            self.columns[:, :, :half] = field_hat[i, 0, :, :half]
            self.columns[:, :, 1 - half :] = field_hat[i, 0, :, 1 - half :]
            self.map_points(write)
        return field

    def _row_blocks(self, field: NDArray[Any]) -> list[NDArray[Any]]:
        depth = len(self._block)
        return [field[first : first + depth] for first in range(0, len(field), depth)]

    def _truncated(self, columns: NDArray[Any]) -> NDArray[Any]:
        n, half = self.grid.n, self.grid.n // 2
        kept = np.zeros((len(columns), n), columns.dtype)
        kept[:, :half] = columns[:, :half]
        kept[:, 1 - half :] = columns[:, 1 - half :]
        return kept

    def take(self, coefficients: NDArray[Any]) -> NDArray[Any]:
        taken: NDArray[Any] = coefficients.T[self.spectral_block[2]]
        return taken

    @property
    def owned(self) -> list[int]:
        return self._turns(0)

    def _turns(self, turn: int) -> list[int]:
        """Members that fall to this rank when the first falls to rank `turn`, the next to the
        rank after it, and so on."""
        pencils = self.mesh.pencil_comm
        members = range(self.mesh.members.start, self.mesh.members.stop)
        return list(members[(pencils.rank - turn) % pencils.size :: pencils.size])

    def gather(self, field_hat: NDArray[Any], n: int) -> dict[int, NDArray[Any]]:
        gathered = self.gather_columns([field_hat], n)
        return {member: _half_plane(columns[0]) for member, columns in gathered.items()}

    def gather_columns(
        self, fields_hat: Sequence[NDArray[Any]], n: int, turn: int = 0
    ) -> dict[int, NDArray[Any]]:
        pencils, half = self.mesh.pencil_comm, n // 2
        blocks = [block(self.grid.n // 2, pencils.size, rank) for rank in range(pencils.size)]
        columns = [max(0, min(part.stop, half) - part.start) for part in blocks]
        mine, fields = columns[pencils.rank], len(fields_hat)
        gathered = {member: np.empty(0) for member in self._turns(turn)}
        for i, member in enumerate(range(self.mesh.members.start, self.mesh.members.stop)):
            part = np.empty((mine, fields, n), fields_hat[0].dtype)
            for f, field_hat in enumerate(fields_hat):
                part[:, f, :half] = field_hat[i, 0, :mine, :half]
                part[:, f, half] = 0
                part[:, f, half + 1 :] = field_hat[i, 0, :mine, 1 - half :]
            whole = part
            if pencils.size > 1:
                is_mine = member in gathered
                whole = np.empty((half if is_mine else 0, fields, n), part.dtype)
                counts = [c * fields * n for c in columns]
                to = (whole, counts) if is_mine else None
                pencils.Gatherv(part, to, root=(i + turn) % pencils.size)
            if member in gathered:
                gathered[member] = whole.transpose(1, 0, 2)
        return gathered

    def empty_physical(self) -> NDArray[Any]:
        return np.empty(self.physical_shape, self.grid.real)

    def zeros_spectral(self) -> NDArray[Any]:
        return np.zeros(self.spectral_shape, self.grid.complex)


def _half_plane(columns: NDArray[Any]) -> NDArray[Any]:
    """Coefficients (kx, ky) as a half plane (ky, kx), shape (n, n/2 + 1)."""
    half, n = columns.shape
    plane = np.zeros((n, half + 1), columns.dtype)
    plane[:, :half] = columns.T
    return plane
