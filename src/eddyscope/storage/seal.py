"""Seals: a digest of an HDF5 file's metadata, appended to it and checked before HDF5 reads it.

HDF5 1.10 may crash or loop for ever on a file whose metadata is damaged, which no `except`
can catch. The seal of a large file covers every byte but the raw data of contiguous arrays, so
it costs the same for files of any size; raw data needs checksums of its own. The seal of a
small file (`storage/small.py`) covers every byte. HDF5 ignores what stands behind its end of
file, but cuts it off when it opens the file for writing: a sealed file is written once, or its
raw data overwritten by `storage/raw_data.py`, without HDF5.

    file | {"raw": [[offset, length], …], "sha256": "…"} | length of the JSON, magic bytes
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import h5py

__all__ = ["footer", "is_broken", "is_sealed", "seal", "sealed"]

MAGIC = b"eddyseal"
FOOTER = struct.Struct("<Q8s")


def seal(path: Path) -> None:
    """Append the seal to a complete, closed file. Not collective."""
    with open(path, "r+b") as file:
        note = footer(file)
        file.seek(0, os.SEEK_END)
        file.write(note)


def footer(file: Any) -> bytes:
    """The seal of a complete HDF5 file, given as an open binary file. Not collective."""
    raw: list[tuple[int, int]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.id.get_offset() is not None:
            raw.append((item.id.get_offset(), item.id.get_storage_size()))

    with h5py.File(file, "r") as opened:
        opened.visititems(visit)
    return _footer(file, sorted(raw))


def sealed(content: bytes) -> bytes:
    """A small file's content with a seal that covers every byte of it."""
    return content + _footer(io.BytesIO(content), [])


def _footer(file: BinaryIO, raw: list[tuple[int, int]]) -> bytes:
    """The seal of an open file that leaves out the extents `raw`."""
    digest = _digest(file, raw, file.seek(0, os.SEEK_END))
    note = json.dumps({"raw": raw, "sha256": digest}).encode()
    return note + FOOTER.pack(len(note), MAGIC)


def is_sealed(path: Path) -> bool:
    """Whether the file has its seal, unbroken. Not collective."""
    return _look(path) is True


def is_broken(path: Path) -> bool:
    """Whether the file has a seal that does not fit it. Not collective.

    False for a file that was never sealed, as those of other programs are not.
    """
    return _look(path) is False


def _look(path: Path) -> bool | None:
    """Whether the file's seal fits it; None if it has none, or cannot be read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(size - FOOTER.size)
            length, magic = FOOTER.unpack(file.read(FOOTER.size))
            if magic != MAGIC:
                return None
            end = size - FOOTER.size - length
            if end < 0:
                return False
            file.seek(end)
            note = json.loads(file.read(length))
            return bool(_digest(file, note["raw"], end) == note["sha256"])
    except (OSError, struct.error):
        return None
    except (ValueError, KeyError, TypeError):
        return False


def _digest(file: BinaryIO, raw: Any, end: int) -> str:
    """SHA-256 of the bytes up to `end` outside the extents `raw`, and of the extents."""
    digest = hashlib.sha256(json.dumps([[int(at), int(length)] for at, length in raw]).encode())
    place = 0
    for at, length in (*raw, (end, 0)):
        if not place <= at <= end:
            raise ValueError("the extents overlap, or reach beyond the file")
        file.seek(place)
        digest.update(file.read(at - place))
        place = at + length
    return digest.hexdigest()
