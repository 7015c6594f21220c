"""CPU transforms by mpi4py-fft: pencils of y in physical space, of kx in spectral space.

One plan for the axes (2, 3) of (member, layer, y, x) on a process grid
(members, 1, y-pencils, 1). The plan truncates the product grid to n modes before it
transposes, so the modes that dealiasing drops are never sent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py_fft import PFFT
from numpy.typing import NDArray

from eddyscope.parallel.world import Mesh
from eddyscope.spectral.grid import Grid

__all__ = ["PencilTransform"]

EFFORT = {"estimate": "FFTW_ESTIMATE", "measure": "FFTW_MEASURE"}


class PencilTransform:
    """See `spectral.transform.Transform`. Making one is collective over the mesh."""

    def __init__(self, grid: Grid, mesh: Mesh, layers: int, planner: str):
        self.grid = grid
        self.mesh = mesh
        self.layers = layers
        # mpi4py-fft takes floor(n · padding) points; the half keeps rounding from losing one.
        padding = (grid.n_product + 0.5) / grid.n
        self.plan = PFFT(
            mesh.comm,
            shape=(mesh.ensemble, layers, grid.n, grid.n),
            axes=(2, 3),
            dtype=grid.real,
            grid=(mesh.shape[0], 1, mesh.shape[1], 1),
            padding=[1, 1, padding, padding],
            planner_effort=EFFORT[planner],
        )
        self.physical_shape = tuple(int(length) for length in self.plan.shape(False))
        self.spectral_shape = tuple(int(length) for length in self.plan.shape(True))
        part = self.plan.local_slice(True)
        ky = np.fft.fftfreq(grid.n, 1.0 / grid.n)[part[2]]
        kx = np.arange(grid.n // 2 + 1, dtype=float)[part[3]]
        self.ky = ky.astype(grid.real).reshape(1, 1, -1, 1)
        self.kx = kx.astype(grid.real).reshape(1, 1, 1, -1)
        kept = (np.abs(self.kx) < grid.n / 2) & (np.abs(self.ky) < grid.n / 2)
        self.keep = kept.astype(grid.real)
        self.weight = np.where(self.kx > 0, 2.0, 1.0).astype(grid.real)

    def forward(self, field: NDArray[Any], field_hat: NDArray[Any]) -> NDArray[Any]:
        self.plan.forward(field, field_hat)
        return field_hat

    def backward(self, field_hat: NDArray[Any], field: NDArray[Any]) -> NDArray[Any]:
        self.plan.backward(field_hat, field)
        return field

    def empty_physical(self) -> NDArray[Any]:
        return np.empty(self.physical_shape, self.grid.real)

    def zeros_spectral(self) -> NDArray[Any]:
        return np.zeros(self.spectral_shape, self.grid.complex)
