"""mpi4py-fft's PFFT as it comes: parallel real transforms of one field at a time, padded and
truncated by it. The independent check of the other backends, and what they are measured against."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from eddyscope.config.arrays import ComplexArray, RealArray
from eddyscope.parallel.world import Mesh
from eddyscope.spectral.distribution import Distribution, Share, edges
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import TransformSettings

__all__ = ["Mpi4pyFft"]


class Mpi4pyFft(Distribution):
    """See `spectral.transform.Transform`. Without a fused kernel.

    PFFT has the columns kx = 0 … n/2, of which the last, the Nyquist modes, carries nothing and
    is left out here: the rank that has it may be left with no column at all. Its plans are
    estimates, so that a run repeats to the bit; the bits depend on the rank count.
    """

    class Settings(TransformSettings):
        """mpi4py-fft's PFFT as it comes: an independent check, several times as slow."""

        kind: Literal["mpi4py_fft"] = "mpi4py_fft"

    fused = None

    def __init__(
        self,
        settings: Settings,
        grid: Grid,
        mesh: Mesh,
        layers: int = 1,
        wisdom: Path | None = None,
    ):
        """wisdom: not used, since nothing is measured. Collective over the mesh."""
        from mpi4py_fft import PFFT, fftw

        n, ranks = grid.n, mesh.pencil_comm.size
        columns = np.minimum(edges(n // 2 + 1, ranks), n // 2)
        super().__init__(grid, mesh, layers, columns, edges(grid.n_product, ranks))
        # A little more than the ratio, since PFFT cuts n · ratio down to a whole number.
        ratio = (grid.n_product + 1e-6) / n
        self._pfft = PFFT(
            mesh.pencil_comm,
            (n, n),
            axes=(0, 1),
            dtype=grid.real,
            padding=[ratio, ratio],
            slab=True,
            flags=(fftw.FFTW_ESTIMATE,),
        )
        self._points = self._pfft.forward.input_array
        self._modes = self._pfft.backward.input_array
        assert self._points.shape == self.physical_shape[2:]

    @staticmethod
    def memory(grid: Grid, share: Share) -> int:
        """Bytes that it keeps, about: PFFT's field in points, between its transposes and in
        modes; the velocities and their products that a flow asks of it; the modes kept."""
        columns = share.columns * grid.n_product * grid.complex.itemsize
        points = share.rows * grid.n_product * grid.real.itemsize
        fields = share.members * share.layers * 4 * points
        return 3 * columns + points + fields + share.columns * grid.n * grid.real.itemsize

    def to_points(self, field_hat: ComplexArray) -> RealArray:
        here, half = self.spectral_shape[2], self.grid.n // 2
        field = np.empty((*field_hat.shape[:-2], *self.physical_shape[2:]), self.grid.real)
        for at in np.ndindex(field_hat.shape[:-2]):
            self._modes[...] = 0
            self._modes[:, :here] = field_hat[at].T
            self._modes[half] = 0
            field[at] = self._pfft.backward()
        return field

    def to_modes(self, field: RealArray) -> ComplexArray:
        here, half = self.spectral_shape[2], self.grid.n // 2
        field_hat = np.zeros((*field.shape[:-2], *self.spectral_shape[2:]), self.grid.complex)
        for at in np.ndindex(field.shape[:-2]):
            self._points[...] = field[at]
            field_hat[at] = self._pfft.forward()[:, :here].T
            field_hat[at][:, half] = 0
        return field_hat
