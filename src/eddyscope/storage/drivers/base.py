"""Overwriting the arrays of a laid-out HDF5 file in place, by all ranks: what drivers share.

The arrays of such a file (`storage/shared_file.py`) are contiguous and have their bytes on the
disk, and its metadata does not change, so a kill cannot tear it. An error on one rank is heard
by all.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike

from eddyscope.config.arrays import AnyArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import BlewUp, CannotWrite, StoppedEarly, all_true
from eddyscope.parallel.world import Comm, World
from eddyscope.storage import image
from eddyscope.storage.atomic import cannot_write
from eddyscope.storage.image import Place
from eddyscope.storage.opening import open_to_read

__all__ = ["DriverSettings", "Piece", "SharedFile", "first_value"]


class DriverSettings(Section):
    """Settings of a driver, which `kind` names."""

    kind: str


@dataclass(frozen=True)
class Piece:
    """Values and where they go: a block of an array, or several along the last axis indexed."""

    name: str
    """The array."""
    index: tuple[int, ...]
    """Place of the first block."""
    values: AnyArray
    """Of the array's type, axes (block, …), contiguous."""


class SharedFile(ABC):
    """The arrays of an open file by name ("group/array"), to be overwritten in place."""

    def __init__(self, settings: DriverSettings, path: Path, comm: Comm):
        """Open the file. Raises CannotWrite, or CaseError for a damaged file, on all ranks.
        Collective."""
        self.path = path
        self.comm = comm
        self.places = World(comm).on_root(lambda: _places(path))
        with (
            self._errors_on_all_ranks()
        ):  # before HDF5, which waits for ever for a rank that cannot
            self._handle = os.open(path, os.O_RDWR)
        with self._errors_on_all_ranks():
            self._open()
        self._background = ThreadPoolExecutor(max_workers=1)
        self._syncing: Future[None] | None = None

    @classmethod
    @abstractmethod
    def require(cls) -> None:
        """Raise CaseError where this machine cannot write in this way. Not collective."""

    @abstractmethod
    def _open(self) -> None:
        """Open the file. Raises OSError or MPI.Exception. Collective."""

    @abstractmethod
    def _close(self) -> None:
        """Collective."""

    @abstractmethod
    def _write(self, pieces: Sequence[Piece]) -> None:
        """Write this rank's pieces. Raises OSError or MPI.Exception, on this rank alone too.
        All ranks call it, but it must not wait for others once it may have failed."""

    @contextmanager
    def closing(self) -> Iterator[Self]:
        """Close it at the end of a `with` block. Collective.

        An error of one rank alone must not wait in `close`, which is collective, for ranks
        that know nothing of it: the file then stays open until the job is aborted.
        """
        try:
            yield self
        except (CaseError, BlewUp, CannotWrite, StoppedEarly):  # raised by all ranks together
            self.close()
            raise
        self.close()

    def close(self) -> None:
        """Collective."""
        self._background.shutdown()
        os.close(self._handle)
        with self._errors_on_all_ranks():
            self._close()

    def piece(self, name: str, index: tuple[int, ...], data: ArrayLike) -> Piece:
        """`data`, converted to the type of the array `name`, to go there from `index` on: the
        place of a block, or of the first of several along the last axis indexed.

        Not collective. `data` must not change until it is written.
        """
        place = self.places[name]
        lead = len(index)
        values = np.ascontiguousarray(data, dtype=place.dtype)
        blocks = values.reshape(-1, *place.shape[lead:])
        if len(blocks) > place.shape[lead - 1] - index[-1]:
            raise ValueError(f"{values.size} values do not fit into {name} from {index} on")
        return Piece(name, index, blocks)

    def write(self, pieces: Sequence[Piece]) -> None:
        """Write the pieces of each rank, none of which overlap. Raises CannotWrite. Collective."""
        with self._errors_on_all_ranks():
            self._write(pieces)

    def begin_sync(self) -> None:
        """Begin to bring all that was written to the disk, while the program goes on; not what
        is written from now on. Not collective."""
        # Any handle of the file will do: the system's cache does not know who wrote what.
        self._syncing = self._background.submit(os.fsync, self._handle)

    def sync(self) -> None:
        """Wait for the sync that was begun, or else until all that was written is on the disk.
        Raises CannotWrite. Collective."""
        syncing = self._syncing or self._background.submit(os.fsync, self._handle)
        self._syncing = None
        with self._errors_on_all_ranks():
            syncing.result()

    @contextmanager
    def _errors_on_all_ranks(self) -> Iterator[None]:
        """An error of writing on any rank becomes a CannotWrite on all of them. Collective."""
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


def first_value(place: Place, index: tuple[int, ...]) -> int:
    """How many values of an array stand before the block at `index`."""
    lead = len(index)
    block = math.prod(place.shape[lead:])
    return block * int(np.ravel_multi_index(index, place.shape[:lead]))


def _places(path: Path) -> dict[str, Place]:
    with open_to_read(path) as file:
        return image.places(file)
