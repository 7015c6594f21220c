"""HDF5's own parallel driver, where h5py is built with MPI.

Writes are independent: collective ones of Open MPI 4.1 report success on a full disk, and hang
where a rank has nothing to write. The arrays are contiguous and the metadata is never touched, so
the file's bytes are those that the other driver writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import h5py

from eddyscope.config.errors import CaseError
from eddyscope.parallel.world import Comm
from eddyscope.storage.atomic import write_on_root
from eddyscope.storage.drivers.base import DriverSettings, Piece, SharedFile
from eddyscope.storage.seal import keep_aside, restore

__all__ = ["ParallelHdf5File", "has_parallel_hdf5"]


def has_parallel_hdf5() -> bool:
    """Whether this h5py is built with MPI."""
    return bool(h5py.get_config().mpi)


class ParallelHdf5File(SharedFile):
    """Written by HDF5 on all ranks."""

    class Settings(DriverSettings):
        """HDF5's parallel driver: needs an h5py that is built with MPI."""

        kind: Literal["mpio"] = "mpio"

    @classmethod
    def require(cls) -> None:
        if not has_parallel_hdf5():
            raise CaseError(
                'storage.driver = "mpio" needs an h5py built with MPI, and this one is not: make '
                "one with `EDDYSCOPE_HDF5=mpi bash jobs/local/setup.sh`, or use "
                'storage.driver = "direct"'
            )

    def __init__(self, settings: DriverSettings, path: Path, comm: Comm):
        # HDF5 cuts the seal off when it closes the file; the seal still fits what is left.
        write_on_root(path, comm, lambda: keep_aside(path))
        super().__init__(settings, path, comm)

    def _open(self) -> None:
        self._file = h5py.File(self.path, "r+", driver="mpio", comm=self.comm)
        self._transfer = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        self._transfer.set_dxpl_mpio(h5py.h5fd.MPIO_INDEPENDENT)

    def _close(self) -> None:
        self._file.close()
        self.comm.Barrier()
        if self.comm.rank == 0:
            restore(self.path)

    def _write(self, pieces: Sequence[Piece]) -> None:
        try:
            for piece in pieces:
                self._write_one(self._file[piece.name].id, piece)
        except RuntimeError as error:  # as h5py raises some errors of HDF5
            raise OSError(str(error)) from error

    def _write_one(self, array: Any, piece: Piece) -> None:
        """Not collective."""
        shape = self.places[piece.name].shape
        lead = len(piece.index)
        start = (*piece.index, *(0 for _ in shape[lead:]))
        count = (*(1 for _ in piece.index[1:]), *piece.values.shape)
        there = array.get_space()
        there.select_hyperslab(start, count)
        array.write(h5py.h5s.create_simple(count), there, piece.values, dxpl=self._transfer)
