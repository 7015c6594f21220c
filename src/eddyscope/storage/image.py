"""HDF5 files laid out in memory first, so that their size is known, and the disk is asked for
all of their room at once.

HDF5 takes a full disk badly: on one rank the program may crash when it ends, on several it
hangs. Here the metadata is made in memory by one rank, and its bytes, and blocks for the
raw data still to come, are written as any file is; where that fails there is an ordinary error.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from eddyscope.storage.seal import footer

__all__ = ["Image"]

LIBVER = ("earliest", "v110")
"""File format bounds: readable by netCDF-4, and no consistency flag that a kill could leave set."""

PAGE = 2**16


class Image(io.RawIOBase):
    """The bytes of a new HDF5 file; those never written, its raw data to come, take no memory."""

    def __init__(self, build: Callable[[h5py.File], None]):
        """`build` creates the groups, datasets and attributes. Not collective."""
        self.size = 0
        self._pages: dict[int, bytearray] = {}
        self._at = 0
        with h5py.File(self, "w", libver=LIBVER) as file:
            build(file)

    @property
    def sealed_size(self) -> int:
        """Bytes of the file with its seal (`storage/seal.py`)."""
        return self.size + len(footer(self))

    def save(self, path: Path) -> None:
        """Write it to `path`, with blocks on the disk for every byte. OSError where it cannot."""
        with open(path, "wb") as file:
            # macOS has no such call: there a full disk is noticed when the data is written.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self.size)
            file.truncate(self.size)
            for number, page in sorted(self._pages.items()):
                file.seek(number * PAGE)
                file.write(page[: max(0, self.size - number * PAGE)])
            file.flush()
            os.fsync(file.fileno())

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
        for number, inside, outside in self._parts(wanted):
            page = self._pages.get(number)
            view[outside] = page[inside] if page else bytes(outside.stop - outside.start)
        self._at += wanted
        return wanted

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for number, inside, outside in self._parts(len(view)):
            self._pages.setdefault(number, bytearray(PAGE))[inside] = view[outside]
        self._at += len(view)
        self.size = max(self.size, self._at)
        return len(view)

    def _parts(self, length: int) -> list[tuple[int, slice, slice]]:
        """(page, place in it, place in the buffer) of `length` bytes from here."""
        parts, done = [], 0
        while done < length:
            number, start = divmod(self._at + done, PAGE)
            count = min(PAGE - start, length - done)
            parts.append((number, slice(start, start + count), slice(done, done + count)))
            done += count
        return parts
