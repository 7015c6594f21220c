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

Shape = tuple[int, ...]

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
        self.physical_shape: Shape = tuple(map(int, self.plan.shape(False)))
        self.spectral_shape: Shape = tuple(map(int, self.plan.shape(True)))
        self.spectral_total: Shape = tuple(map(int, self.plan.global_shape(True)))
        part = self.spectral_block = tuple(self.plan.local_slice(True))
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

    def take(self, coefficients: NDArray[Any]) -> NDArray[Any]:
        taken: NDArray[Any] = coefficients[self.spectral_block[2:]]
        return taken

    @property
    def owned(self) -> list[int]:
        pencils = self.mesh.pencil_comm
        members = range(self.mesh.members.start, self.mesh.members.stop)
        return list(members[pencils.rank :: pencils.size])

    def gather(self, field_hat: NDArray[Any], n: int) -> dict[int, NDArray[Any]]:
        # Each rank has whole columns of ky; sent as (kx, ky) they come together by joining.
        pencils = self.mesh.pencil_comm
        rows = _modes_kept(n, self.grid.n)
        first = self.spectral_block[3].start
        columns = max(0, min(self.spectral_block[3].stop, n // 2) - first)
        counts = pencils.allgather(columns * rows.size)
        gathered = {}
        for i, member in enumerate(range(self.mesh.members.start, self.mesh.members.stop)):
            owner = i % pencils.size
            mine = np.ascontiguousarray(field_hat[i, 0, rows, :columns].T)
            whole = np.empty((n // 2, rows.size), mine.dtype) if pencils.rank == owner else None
            pencils.Gatherv(mine, None if whole is None else (whole, counts), root=owner)
            if whole is not None:
                gathered[member] = _half_plane(whole, n)
        return gathered

    def empty_physical(self) -> NDArray[Any]:
        return np.empty(self.physical_shape, self.grid.real)

    def zeros_spectral(self) -> NDArray[Any]:
        return np.zeros(self.spectral_shape, self.grid.complex)


def _modes_kept(n: int, n_from: int) -> NDArray[np.intp]:
    """Indices along ky, in a spectrum of `n_from` modes, of |ky| < n/2, in fftfreq order."""
    half = n // 2
    return np.concatenate([np.arange(half), np.arange(n_from - half + 1, n_from)])


def _half_plane(columns: NDArray[Any], n: int) -> NDArray[Any]:
    """Coefficients (kx, kept ky) as a half plane (n, n/2 + 1) with zero Nyquist modes."""
    plane = np.zeros((n, n // 2 + 1), columns.dtype)
    plane[_modes_kept(n, n), : n // 2] = columns.T
    return plane
