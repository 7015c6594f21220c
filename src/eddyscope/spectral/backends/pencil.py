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

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py_fft import fftw
from numpy.typing import NDArray

from eddyscope.parallel.world import Mesh, block
from eddyscope.spectral.backends.blocks import collect, put_block, spread, take_block
from eddyscope.spectral.backends.wisdom import kept_wisdom
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.half_plane import from_columns
from eddyscope.spectral.transform import ColumnFunction

__all__ = ["PencilTransform"]

EFFORT = {"estimate": fftw.FFTW_ESTIMATE, "measure": fftw.FFTW_MEASURE}

CACHE = 2**18
"""Bytes that a part of the columns may take: within the second-level cache of current
processors."""

ROWS = 24
"""Rows of a block: a multiple of 8, so that those of a column fill whole lines of the cache, and
enough for the memory to foresee the next line. As many on any rank, so that FFTW plans the same."""


def leave(part: slice, plus: Any, minus: Any) -> None:
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
        self._starts = _edges(n // 2, pencils.size)
        self._tops = _edges(n_product, pencils.size)
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
        """Work arrays, FFTW plans on them, and the transfer between the two pencil layouts.

        All plans are out of place: FFTW's estimates are better there than in place.
        """
        n, n_product, kind = self.grid.n, self.grid.n_product, self.grid.complex.char
        kept, alone = self.spectral_shape[2], self.mesh.pencil_comm.size == 1
        self._sent = fftw.aligned((self.fields * kept * n_product,), dtype=kind, fill=0)
        # As many columns at a time on any rank, so that FFTW plans the same everywhere.
        fitting = CACHE // (self.fields * n_product * self.grid.complex.itemsize)
        width = max(1, min(fitting, max(16, n // 8)))
        self._parts = [slice(at, min(at + width, kept)) for at in range(0, kept, width)]
        self._work = fftw.aligned((self.fields, width, n_product), dtype=kind, fill=0)
        self._some = fftw.aligned((width, n_product), dtype=kind, fill=0)
        # Where nothing is sent, most columns go to and from their places directly.
        fields = self._sent.reshape(self.fields, kept, n_product)
        whole = self._parts[: kept // width] if alone else []
        self._places = [[field[part] for part in whole] for field in fields]
        # FFTW wants 16 bytes and every column has them, but mpi4py-fft insists on as many (up
        # to 32) as the arrays that were planned on: so plan on columns with the fewest.
        columns = min([self._some, *chain(*self._places)], key=fftw.get_alignment)
        work = min(self._work, key=fftw.get_alignment)
        self._along_y = (
            fftw.fftn(columns, output_array=work, axes=(1,), flags=(effort,)),
            fftw.ifftn(work, output_array=columns, axes=(1,), flags=(effort,)),
        )
        self._modes = fftw.aligned((ROWS, n_product), dtype=kind, fill=0)
        self._points = fftw.aligned((ROWS, n_product), dtype=kind, fill=0)
        self._along_x = (
            fftw.fftn(self._points, output_array=self._modes, axes=(1,), flags=(effort,)),
            fftw.ifftn(self._modes, output_array=self._points, axes=(1,), flags=(effort,)),
        )
        for array in (self._sent, self._work, self._some, self._modes, self._points):
            array[...] = 0  # planning may have left rubbish behind
        self._maxima = np.zeros(n_product, self.grid.real)
        self._lay_out_messages()

    def _lay_out_messages(self) -> None:
        """Who sends what to whom: plain buffers, since MPI moves what has strides piece by piece
        (with mpi4py-fft's transfers, of derived datatypes, it took 2 to 16 times as long)."""
        pencils, fields = self.mesh.pencil_comm, self.fields
        kept, height = self.spectral_shape[2], self.physical_shape[2]
        to = fields * kept * np.diff(self._tops)
        of = fields * height * np.diff(self._starts)
        begin = fields * kept * self._tops[pencils.rank]
        mine = self._sent[begin : begin + to[pencils.rank]]
        to[pencils.rank] = of[pencils.rank] = 0  # stays where it is, and is read from there
        self._mine = mine.reshape(fields, kept, height)
        self._received = np.zeros(of.sum(), self.grid.complex)
        self._out = (self._sent, (to, fields * kept * self._tops[:-1]))
        self._in = (self._received, (of, np.cumsum(of) - of))

    def map_points(
        self,
        function: Callable[[Any, Any], None],
        fill: ColumnFunction = leave,
        use: ColumnFunction = leave,
    ) -> float:
        for number, part in enumerate(self._parts):
            fill(part, *self._work[:, : part.stop - part.start])
            self._columns_from_work(number, part)
        self._transpose()
        self._maxima[...] = 0
        modes, points = self._modes, self._points
        mine = self._mine, self._received, self.mesh.pencil_comm.rank, self._starts
        total = self.physical_shape[2]
        for first in range(0, total, ROWS):
            rows = min(ROWS, total - first)
            take_block(*mine, modes, first, rows)
            self._along_x[1](modes, points)
            function(points, self._maxima)
            self._along_x[0](points, modes)
            put_block(*mine, modes, first, rows)
        self._transpose_back()
        for number, part in enumerate(self._parts):
            self._work_from_columns(number, part)
            use(part, *self._work[:, : part.stop - part.start])
        return float(self._maxima.max())

    def exchange(self, times: int = 1) -> None:
        """What `map_points` sends between ranks, there and back, by itself: for benchmarks."""
        for _ in range(times):
            self._transpose()
            self._transpose_back()

    def _transpose(self) -> None:
        if self.mesh.pencil_comm.size > 1:
            self.mesh.pencil_comm.Alltoallv(self._out, self._in)

    def _transpose_back(self) -> None:
        if self.mesh.pencil_comm.size > 1:
            self.mesh.pencil_comm.Alltoallv(self._in, self._out)

    def _columns_from_work(self, number: int, part: slice) -> None:
        plan, some, kept = self._along_y[1], self._some, self.spectral_shape[2]
        for f, (work, places) in enumerate(zip(self._work, self._places, strict=True)):
            if number < len(places):
                plan(work, places[number])
            else:
                plan(work, some)
                count = part.stop - part.start
                spread(some[:count], self._sent, f, part.start, kept, self._tops)

    def _work_from_columns(self, number: int, part: slice) -> None:
        plan, some, kept = self._along_y[0], self._some, self.spectral_shape[2]
        for f, (work, places) in enumerate(zip(self._work, self._places, strict=True)):
            if number < len(places):
                plan(places[number], work)
            else:
                count = part.stop - part.start
                collect(some[:count], self._sent, f, part.start, kept, self._tops)
                plan(some, work)

    def forward(self, field: NDArray[Any], field_hat: NDArray[Any]) -> NDArray[Any]:
        half = self.grid.n // 2
        for i in range(self.physical_shape[0]):
            rows, modes = iter(self._row_blocks(field[i, 0])), field_hat[i, 0]

            def read(points: NDArray[Any], _: Any, rows: Any = rows) -> None:
                source = next(rows)
                points[: len(source)] = source

            def truncate(part: slice, plus: Any, _: Any, modes: Any = modes) -> None:
                modes[part, :half] = plus[:, :half] * self.scale
                modes[part, half] = 0
                modes[part, half + 1 :] = plus[:, 1 - half :] * self.scale

            self.map_points(read, use=truncate)
        return field_hat

    def backward(self, field_hat: NDArray[Any], field: NDArray[Any]) -> NDArray[Any]:
        half = self.grid.n // 2
        for i in range(self.physical_shape[0]):
            rows, modes = iter(self._row_blocks(field[i, 0])), field_hat[i, 0]

            def pad(part: slice, *both: Any, modes: Any = modes) -> None:
                for columns in both:
                    columns[:, :half] = modes[part, :half]
                    columns[:, half : 1 - half] = 0
                    columns[:, 1 - half :] = modes[part, half + 1 :]

            def write(points: NDArray[Any], _: Any, rows: Any = rows) -> None:
                target = next(rows)
                target[...] = points[: len(target)].real

            self.map_points(write, fill=pad)
        return field

    def _row_blocks(self, field: NDArray[Any]) -> list[NDArray[Any]]:
        return [field[first : first + ROWS] for first in range(0, len(field), ROWS)]

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
        return {member: from_columns(columns[0]) for member, columns in gathered.items()}

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


def _edges(total: int, ranks: int) -> NDArray[np.int64]:
    """Where each rank's block begins, and the end of the last one's."""
    return np.array([block(total, ranks, rank).start for rank in range(ranks)] + [total])
