"""How an ensemble's fields lie on the ranks: what all transform backends have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eddyscope.config.arrays import AnyArray, ComplexArray, IntArray, RealArray
from eddyscope.parallel.world import Mesh, block
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.half_plane import from_columns, kept_modes, to_points
from eddyscope.spectral.kernels.loops import Loops

__all__ = ["Distribution", "Share", "edges"]


def edges(total: int, ranks: int) -> IntArray:
    """Where each rank's block of `total` things begins, and the end of the last one's."""
    return np.array([block(total, ranks, rank).start for rank in range(ranks)] + [total])


@dataclass(frozen=True)
class Share:
    """How much a rank has of an ensemble; what it takes of memory follows from it."""

    members: int
    layers: int
    columns: int
    """Of coefficients, kx."""
    rows: int
    """Of the product grid, y."""
    owned: int
    """Members whose whole fields are gathered on it."""
    pencils: int
    """Ranks that share its members."""

    @classmethod
    def largest(cls, grid: Grid, mesh: tuple[int, int], members: int, layers: int) -> Share:
        """That of the rank which has most, on a mesh of shape (members, y-pencils)."""
        along_members, pencils = mesh
        here = -(-members // along_members)
        columns, rows = -(-(grid.n // 2) // pencils), -(-grid.n_product // pencils)
        return cls(here, layers, columns, rows, -(-here // pencils), pencils)


class Distribution:
    """Shapes, wavenumbers and whole fields, as `spectral.transform.Transform` has them; of
    numpy's arrays, unless a backend says otherwise."""

    on_host = True
    at_once = 1
    has_pencils = True
    together: Sequence[tuple[int | slice, int | slice]]

    def __init__(self, grid: Grid, mesh: Mesh, layers: int, columns: IntArray, rows: IntArray):
        """columns, rows: the edges of the ranks' blocks of kx = 0 … n/2 - 1 and of y."""
        from eddyscope.spectral.kernels.host import HostLoops

        self.loops: Loops = HostLoops()
        self.grid = grid
        self.mesh = mesh
        self.layers = layers
        self._column_edges, self._row_edges = columns, rows
        n, rank = grid.n, mesh.pencil_comm.rank
        members = mesh.members.stop - mesh.members.start
        here = slice(int(columns[rank]), int(columns[rank + 1]))
        height = int(rows[rank + 1] - rows[rank])
        self.physical_shape = members, layers, height, grid.n_product
        self.spectral_shape = members, layers, here.stop - here.start, n
        self.spectral_total = mesh.ensemble, layers, n // 2, n
        self.spectral_block = mesh.members, slice(0, layers), here, slice(0, n)
        self.together = list(np.ndindex(members, layers))
        ky = np.fft.fftfreq(n, 1.0 / n)
        self.ky = ky.astype(grid.real).reshape(1, 1, 1, -1)
        self.kx = np.arange(here.start, here.stop).astype(grid.real).reshape(1, 1, -1, 1)
        kept = np.broadcast_to(np.abs(self.ky) < n / 2, (1, 1, self.kx.size, n))
        self.keep = kept.astype(grid.real)
        self.weight = np.where(self.kx > 0, 2.0, 1.0).astype(grid.real)

    def zeros_spectral(self) -> ComplexArray:
        return np.zeros(self.spectral_shape, self.grid.complex)

    def from_host(self, array: AnyArray) -> AnyArray:
        return array

    def to_host(self, array: AnyArray) -> AnyArray:
        return array

    def take(self, coefficients: ComplexArray) -> ComplexArray:
        return self.from_host(np.swapaxes(coefficients, -1, -2)[..., self.spectral_block[2], :])

    def to_own_points(self, field_hat: ComplexArray) -> RealArray:
        return to_points(from_columns(field_hat))

    def from_own_points(self, field: RealArray) -> ComplexArray:
        return self.take(kept_modes(field))

    @property
    def owned(self) -> list[int]:
        return self._turns(0)

    def _turns(self, turn: int) -> list[int]:
        """Members that fall to this rank when the first falls to rank `turn`, the next to the
        rank after it, and so on."""
        pencils = self.mesh.pencil_comm
        members = range(self.mesh.members.start, self.mesh.members.stop)
        return list(members[(pencils.rank - turn) % pencils.size :: pencils.size])

    def gather(self, field_hat: ComplexArray, n: int) -> dict[int, ComplexArray]:
        gathered = self.gather_columns([field_hat], n)
        return {m: from_columns(self.to_host(columns[0])) for m, columns in gathered.items()}

    def gather_columns(
        self, fields_hat: Sequence[ComplexArray], n: int, turn: int = 0
    ) -> dict[int, ComplexArray]:
        pencils, half = self.mesh.pencil_comm, n // 2
        counts = np.diff(np.minimum(self._column_edges, half))
        gathered: dict[int, ComplexArray] = dict.fromkeys(self._turns(turn), np.empty(0, complex))
        for i, member in enumerate(range(self.mesh.members.start, self.mesh.members.stop)):
            columns = self._truncated([field[i] for field in fields_hat], counts[pencils.rank], n)
            is_mine = member in gathered
            whole = columns
            if pencils.size > 1:
                whole = np.empty((half if is_mine else 0, *columns.shape[1:]), columns.dtype)
                sizes = counts * (len(fields_hat) * self.layers * n)
                into = (whole, sizes) if is_mine else None
                pencils.Gatherv(columns, into, root=(i + turn) % pencils.size)
            if is_mine:
                gathered[member] = whole.transpose(1, 2, 0, 3)
        return gathered

    def _truncated(self, fields_hat: Sequence[ComplexArray], count: int, n: int) -> ComplexArray:
        """The first `count` columns of fields (layer, kx, ky), truncated to n modes along ky, as
        they are sent: axes (kx, field, layer, ky)."""
        half = n // 2
        columns = np.empty((count, len(fields_hat), self.layers, n), self.grid.complex)
        for f, field_hat in enumerate(fields_hat):
            modes = field_hat[:, :count].transpose(1, 0, 2)
            columns[:, f, :, :half] = modes[..., :half]
            columns[:, f, :, half] = 0
            columns[:, f, :, half + 1 :] = modes[..., 1 - half :]
        return columns
