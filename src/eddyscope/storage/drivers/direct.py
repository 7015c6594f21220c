"""MPI-IO into the raw data of the file: HDF5 says once where each array begins, and is not needed
again.

What many arrays have waited for goes to the disk in one call, where HDF5 would take one for each,
and the file is never open in HDF5 for writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from eddyscope.storage.drivers.base import DriverSettings, Piece, SharedFile, first_value

__all__ = ["DirectFile"]

GATHERED_BELOW = 2**16
"""Bytes below which a piece is sent to rank 0, which writes those that touch as one: many ranks
that write a few bytes each into one block of the disk would wait for each other."""

LARGEST_WRITE = 2**30
"""Bytes of one call: MPI counts them in 32 bits."""


@dataclass(frozen=True)
class Bytes:
    """Bytes and where in the file they go."""

    offset: int
    content: NDArray[np.uint8]


class DirectFile(SharedFile):
    """Written by MPI-IO, without HDF5."""

    class Settings(DriverSettings):
        """MPI-IO into the places that HDF5 laid out: fastest, and with any h5py."""

        kind: Literal["direct"] = "direct"

    @classmethod
    def require(cls) -> None:
        """Nothing is needed beside MPI."""

    def _open(self) -> None:
        self._file = MPI.File.Open(self.comm, str(self.path), MPI.MODE_WRONLY)

    def _close(self) -> None:
        self._file.Close()

    def _write(self, pieces: Sequence[Piece]) -> None:
        parts = [self._bytes(piece) for piece in pieces]
        small = [part for part in parts if part.content.size < GATHERED_BELOW]
        gathered = self.comm.gather(small) or []
        for part in parts:
            if part.content.size >= GATHERED_BELOW:
                self._write_one(part)
        for part in _joined([part for of_rank in gathered for part in of_rank]):
            self._write_one(part)

    def _bytes(self, piece: Piece) -> Bytes:
        place = self.places[piece.name]
        offset = place.offset + first_value(place, piece.index) * place.dtype.itemsize
        return Bytes(offset, piece.values.reshape(-1).view(np.uint8))

    def _write_one(self, part: Bytes) -> None:
        """Not collective: a collective write of Open MPI 4.1 succeeds on a full disk."""
        status = MPI.Status()
        for start in range(0, part.content.size, LARGEST_WRITE):
            content = part.content[start : start + LARGEST_WRITE]
            self._file.Write_at(part.offset + start, content, status)
            written = status.Get_count(MPI.BYTE)
            if written != content.size:  # and this one says so here alone
                raise OSError(f"{written} of {content.size} bytes were written")


def _joined(parts: Sequence[Bytes]) -> Iterator[Bytes]:
    """The parts in the order of the file, those that touch as one."""
    run: list[Bytes] = []
    end = -1
    for part in sorted(parts, key=lambda part: part.offset):
        if run and part.offset != end:
            yield Bytes(run[0].offset, np.concatenate([part.content for part in run]))
            run = []
        run.append(part)
        end = part.offset + part.content.size
    if run:
        yield Bytes(run[0].offset, np.concatenate([part.content for part in run]))
