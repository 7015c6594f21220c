"""A transform that a user might add: whole fields by numpy's FFT, on every rank alike."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from eddyscope.config.arrays import ComplexArray, RealArray
from eddyscope.parallel.world import Mesh
from eddyscope.spectral import half_plane
from eddyscope.spectral.distribution import Distribution, Share, edges
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import TransformSettings


class NumpyFft(Distribution):
    """Every rank gathers a field whole, transforms it, and keeps its own part."""

    class Settings(TransformSettings):
        kind: Literal["numpy"] = "numpy"

    fused = None

    def __init__(
        self,
        settings: Settings,
        grid: Grid,
        mesh: Mesh,
        layers: int = 1,
        wisdom: Path | None = None,
    ):
        ranks, rank = mesh.pencil_comm.size, mesh.pencil_comm.rank
        rows = edges(grid.n_product, ranks)
        super().__init__(grid, mesh, layers, edges(grid.n // 2, ranks), rows)
        self._rows = slice(rows[rank], rows[rank + 1])
        self._ky = np.arange(1 - grid.n // 2, grid.n // 2)

    @staticmethod
    def memory(grid: Grid, share: Share) -> int:
        return share.columns * grid.n * grid.real.itemsize

    def to_points(self, field_hat: ComplexArray) -> RealArray:
        field = np.empty((*field_hat.shape[:-2], *self.physical_shape[2:]), self.grid.real)
        half, size = self.grid.n // 2, self.grid.n_product
        for at in np.ndindex(field_hat.shape[:-2]):
            columns = np.concatenate(self.mesh.pencil_comm.allgather(field_hat[at]))
            padded = np.zeros((size, size // 2 + 1), self.grid.complex)
            padded[self._ky, :half] = columns.T[self._ky]
            field[at] = half_plane.to_points(padded)[self._rows]
        return field

    def to_modes(self, field: RealArray) -> ComplexArray:
        field_hat = np.zeros((*field.shape[:-2], *self.spectral_shape[2:]), self.grid.complex)
        for at in np.ndindex(field.shape[:-2]):
            whole = np.concatenate(self.mesh.pencil_comm.allgather(field[at]))
            modes = self.take(half_plane.to_modes(whole))
            field_hat[at][:, self._ky] = modes[:, self._ky]
        return field_hat
