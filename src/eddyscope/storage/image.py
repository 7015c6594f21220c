"""HDF5 files laid out in memory first, so that their size is known, and the disk is asked for
all of their bytes at once.

HDF5 takes a full disk badly: on one rank the program may crash when it ends, on several it
hangs. Here the metadata is made in memory by one rank, and its bytes, and blocks for the
raw data still to come, are written as any file is; where that fails there is an ordinary error.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eddyscope.storage.seal import Extent, footer_size
from eddyscope.storage.variables import FORMAT_BOUNDS, Tree, build

__all__ = ["LARGEST_FILE", "Image", "Place", "places"]

LARGEST_FILE = 2**62
"""Bytes from which on neither HDF5 nor a file system can count."""

PAGE = 2**16
"""Bytes that are kept, or not, together."""


@dataclass(frozen=True)
class Place:
    """Where in a file an array is, and what it is."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def extent(self) -> Extent:
        return self.offset, math.prod(self.shape) * self.dtype.itemsize


def places(file: h5py.File) -> dict[str, Place]:
    """Name ("group/array") -> place of every contiguous array of an open file."""
    found: dict[str, Place] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.id.get_offset() is not None:
            found[name] = Place(item.id.get_offset(), item.shape, item.dtype)

    file.visititems(visit)
    return found


class Image(io.RawIOBase):
    """The bytes of a new HDF5 file; those never written, its raw data to come, take no memory."""

    def __init__(self, tree: Tree):
        """Not collective."""
        self.size = 0
        self._pages: dict[int, bytearray] = {}
        self._at = 0
        with h5py.File(self, "w", libver=FORMAT_BOUNDS) as file:
            build(file, tree)
        with h5py.File(self, "r") as file:
            self.places = places(file)
        named = {
            f"{group}/{name}".lstrip("/"): variable
            for group, content in tree.items()
            for name, variable in content.variables.items()
        }
        self._allocated = {name: v for name, v in named.items() if v.data is None}

    @property
    def changing(self) -> list[Extent]:
        """Where raw data will be overwritten, which the file's seal leaves out."""
        free = [name for name, variable in self._allocated.items() if not variable.fixed]
        return sorted(self.places[name].extent for name in free if name in self.places)

    @property
    def sealed_size(self) -> int:
        """Bytes of the file with its seal (`storage/seal.py`)."""
        return self.size + footer_size(self.changing)

    def save(self, path: Path) -> None:
        """Write it to `path`, with blocks on the disk for every byte, and the values that arrays
        begin with. OSError where it cannot."""
        with open(path, "wb") as file:
            # macOS has no such call: there a full disk is noticed when the data is written.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self.size)
            file.truncate(self.size)
            for number, page in sorted(self._pages.items()):
                file.seek(number * PAGE)
                file.write(page[: max(0, self.size - number * PAGE)])
            for name, variable in self._allocated.items():
                if variable.initial is not None:
                    file.seek(self.places[name].offset)
                    for part in self._parts_of(name):
                        file.write(part)
            file.flush()
            os.fsync(file.fileno())

    def _parts_of(self, name: str) -> Iterator[bytes]:
        """The bytes that an array begins with."""
        initial, dtype = self._allocated[name].initial, self.places[name].dtype
        for part in initial() if initial is not None else ():
            yield np.asarray(part, dtype).tobytes()

    # --- What HDF5 asks of a file ---

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        return self.size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self.size - self._at))
        for number, inside, outside in self._in_pages(wanted):
            page = self._pages.get(number)
            view[outside] = page[inside] if page else bytes(outside.stop - outside.start)
        self._at += wanted
        return wanted

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for number, inside, outside in self._in_pages(len(view)):
            self._pages.setdefault(number, bytearray(PAGE))[inside] = view[outside]
        self._at += len(view)
        self.size = max(self.size, self._at)
        return len(view)

    def _in_pages(self, length: int) -> list[tuple[int, slice, slice]]:
        """(page, place in it, place in the buffer) of `length` bytes from here."""
        parts, done = [], 0
        while done < length:
            number, start = divmod(self._at + done, PAGE)
            count = min(PAGE - start, length - done)
            parts.append((number, slice(start, start + count), slice(done, done + count)))
            done += count
        return parts
