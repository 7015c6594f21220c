"""Overwriting the raw data of a laid-out HDF5 file by MPI-IO.

The arrays of such a file (`lay_out`) are contiguous, so HDF5 can say once where each
of them begins, and is not needed again. What many arrays have waited for goes to the disk in
one call, where HDF5 would take one collective call for each; the metadata is never opened for
writing, so a kill cannot tear it; and an error on one rank is heard by all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import BlewUp, CannotWrite, StoppedEarly, all_true
from eddyscope.storage.atomic import cannot_write, check_folder, replace_file, write_on_root
from eddyscope.storage.image import Image
from eddyscope.storage.layout import Build
from eddyscope.storage.seal import seal

__all__ = ["Piece", "Place", "RawData", "lay_out", "new_file"]

SMALL = 2**16
"""Bytes from which on a rank writes its piece itself."""

MOST = 2**30
"""Bytes of one write at the most: MPI counts them in 32 bits."""


@dataclass(frozen=True)
class Place:
    """Where in the file an array is, and what it is."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Piece:
    """Bytes and where in the file they go."""

    offset: int
    data: NDArray[np.uint8]


class RawData:
    """The arrays of a file by name ("group/array"), to be overwritten in place."""

    def __init__(self, path: Path, comm: MPI.Intracomm):
        """Open the file. Raises CannotWrite on all ranks. Collective."""
        self.path = path
        self.comm = comm
        places = _places(path) if comm.rank == 0 else None
        self.places: dict[str, Place] = comm.bcast(places)
        with self._failing_together():
            self._file = MPI.File.Open(comm, str(path), MPI.MODE_WRONLY)
        with self._failing_together():
            self._handle = os.open(path, os.O_RDONLY)
        self._background = ThreadPoolExecutor(max_workers=1)
        self._syncing: Future[None] | None = None

    @classmethod
    @contextmanager
    def opened(cls, path: Path, comm: MPI.Intracomm) -> Iterator[RawData]:
        """Open for the time of a `with` block. Collective.

        An error of one rank alone must not wait in `close`, which is collective, for ranks
        that know nothing of it: the file then stays open until the job is aborted.
        """
        data = cls(path, comm)
        try:
            yield data
        except (CaseError, BlewUp, CannotWrite, StoppedEarly):  # raised by all ranks together
            data.close()
            raise
        data.close()

    def close(self) -> None:
        """Collective."""
        self._background.shutdown()
        os.close(self._handle)
        self._file.Close()

    def piece(self, name: str, index: tuple[int, ...], data: Any) -> Piece:
        """`data`, converted to the type of the array `name`, to go there from `index` on: the
        place of a block, or of the first of several along the last axis indexed.

        Not collective. `data` must not change until it is written.
        """
        place = self.places[name]
        data = np.ascontiguousarray(data, dtype=place.dtype)
        block = math.prod(place.shape[len(index) :])
        first = block * int(np.ravel_multi_index(index, place.shape[: len(index)]))
        room = block * (place.shape[len(index) - 1] - index[-1])
        if data.size > room:
            raise ValueError(f"{data.size} values do not fit into {name} from {index} on")
        begin = place.offset + first * place.dtype.itemsize
        return Piece(begin, data.reshape(-1).view(np.uint8))

    def write(self, pieces: Sequence[Piece]) -> None:
        """Write the pieces of each rank, none of which overlap. Raises CannotWrite. Collective.

        Small ones are sent to rank 0, which writes those that touch as one: many ranks that
        write a few bytes each into one block of the disk would wait for each other.
        """
        small = [piece for piece in pieces if piece.data.size < SMALL]
        gathered = self.comm.gather(small)
        with self._failing_together():
            for piece in pieces:
                if piece.data.size >= SMALL:
                    self._write_one(piece)
            for piece in _joined([piece for part in gathered or [] for piece in part]):
                self._write_one(piece)

    def begin_sync(self) -> None:
        """Begin to bring all that was written to the disk, while the program goes on; not what
        is written from now on. Not collective."""
        # Any handle of the file will do: the system's cache does not know who wrote what.
        self._syncing = self._background.submit(os.fsync, self._handle)

    def sync(self) -> None:
        """Wait for the sync that was begun, or else until all that was written is on the disk.
        Raises CannotWrite. Collective."""
        if self._syncing is None:
            self.begin_sync()
        begun, self._syncing = self._syncing, None
        with self._failing_together():
            begun.result()  # type: ignore[union-attr]

    def _write_one(self, piece: Piece) -> None:
        """Not collective: a collective write of Open MPI 4.1 succeeds on a full disk."""
        status = MPI.Status()
        for start in range(0, piece.data.size, MOST):
            part = piece.data[start : start + MOST]
            self._file.Write_at(piece.offset + start, part, status)
            written = status.Get_count(MPI.BYTE)
            if written != part.size:  # and this one says so here alone
                raise OSError(f"{written} of {part.size} bytes were written")

    @contextmanager
    def _failing_together(self) -> Iterator[None]:
        """An error of MPI-IO on any rank becomes a CannotWrite on all of them. Collective."""
        reason = ""
        try:
            yield
        except MPI.Exception as error:
            reason = error.Get_error_string()
        except OSError as error:
            reason = str(error)
        if not all_true(self.comm, not reason):
            reasons = self.comm.allgather(reason)
            raise cannot_write(self.path, OSError(next(text for text in reasons if text)))


def lay_out(path: Path, comm: MPI.Intracomm, build: Build) -> None:
    """A new file at `path`, laid out and sealed by rank 0, with all its room on the disk, for its
    raw data. Raises CannotWrite on all ranks. Collective."""
    temporary = path.with_name(path.name + ".tmp")
    check_folder(path.parent, comm)

    def work() -> None:
        Image(build).save(temporary)
        seal(temporary)
        replace_file(temporary, path)

    write_on_root(path, comm, work)


@contextmanager
def new_file(path: Path, comm: MPI.Intracomm, build: Build) -> Iterator[RawData]:
    """A new file, laid out by `build` on rank 0 with all its room on the disk, then open for its
    raw data; synced, sealed, and renamed to `path` when complete. Raises CannotWrite on all
    ranks. Collective."""
    temporary = path.with_name(path.name + ".tmp")
    check_folder(path.parent, comm)
    write_on_root(path, comm, lambda: Image(build).save(temporary))
    with RawData.opened(temporary, comm) as data:
        yield data
        data.sync()

    def finish() -> None:
        seal(temporary)
        replace_file(temporary, path)

    write_on_root(path, comm, finish)


def _places(path: Path) -> dict[str, Place]:
    places: dict[str, Place] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.id.get_offset() is not None:
            places[name] = Place(item.id.get_offset(), item.shape, item.dtype)

    with h5py.File(path, "r", locking=False) as file:
        file.visititems(visit)
    return places


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The pieces in the order of the file, those that touch as one."""
    run: list[Piece] = []
    end = -1
    for piece in sorted(pieces, key=lambda piece: piece.offset):
        if run and piece.offset != end:
            yield Piece(run[0].offset, np.concatenate([part.data for part in run]))
            run = []
        run.append(piece)
        end = piece.offset + piece.data.size
    if run:
        yield Piece(run[0].offset, np.concatenate([part.data for part in run]))
