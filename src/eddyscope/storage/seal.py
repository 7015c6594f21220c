"""Seals: a digest of an HDF5 file's metadata, appended to it and checked before HDF5 reads it.

HDF5 1.10 may crash or loop for ever on a file whose metadata is damaged, which no `except`
can catch. The seal of a large file covers every byte but the arrays that are overwritten in
place, so it costs the same for files of any size; those need checksums of their own
(`storage/checked.py`). The seal of a small file (`storage/small.py`) covers every byte. HDF5
ignores what stands behind its end of file, but cuts it off when it closes a file that it opened
for writing: such a file is sealed again.

    file | {"raw": [[offset, length], …], "sha256": "…"} | length of the JSON, magic bytes
"""

from __future__ import annotations

import enum
import hashlib
import io
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from eddyscope.storage.atomic import write_atomically

__all__ = [
    "Extent",
    "Seal",
    "append",
    "footer_of",
    "footer_size",
    "is_sealed",
    "keep_aside",
    "restore",
    "seal",
    "seal_of",
    "sealed",
]

MAGIC = b"eddyseal"
FOOTER = struct.Struct("<Q8s")
"""A file's end: bytes of the seal before it, and MAGIC."""

Extent = tuple[int, int]
"""Offset and length of a part of a file, in bytes."""


class Seal(enum.Enum):
    """What a file's seal says of it."""

    WHOLE = "the seal fits the file"
    BROKEN = "the seal does not fit the file"
    ABSENT = "there is no seal, as in files of other programs"


def seal(path: Path, changing: Sequence[Extent]) -> None:
    """Append the seal to a complete, closed file. Not collective.

    changing: what the seal leaves out."""
    with open(path, "rb") as file:
        footer = _footer(changing, _digest(file, changing, file.seek(0, os.SEEK_END)))
    append(path, footer)


def append(path: Path, footer: bytes) -> None:
    """Append a seal that was cut off, or is new. Not collective."""
    with open(path, "ab") as file:
        file.write(footer)
        file.flush()
        os.fsync(file.fileno())


def keep_aside(path: Path) -> None:
    """Keep the file's seal in a file beside it, while HDF5 has it open for writing: CannotWrite.
    Not collective."""
    footer = footer_of(path) if path.is_file() else b""
    if footer:
        write_atomically(_aside(path), footer)


def restore(path: Path) -> None:
    """Append the seal that is kept aside, where the file has lost its own. Not collective.

    A kill while HDF5 closes the file leaves it so; then call this before it is read again."""
    aside = _aside(path)
    if aside.is_file() and path.is_file():
        if not footer_of(path):
            append(path, aside.read_bytes())
        aside.unlink()


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".seal")


def sealed(content: bytes) -> bytes:
    """A small file's content with a seal that covers every byte of it."""
    return content + _footer([], _digest(io.BytesIO(content), [], len(content)))


def footer_size(changing: Sequence[Extent]) -> int:
    """Bytes of a seal that leaves out `changing`."""
    return len(_footer(changing, hashlib.sha256().hexdigest()))


def _footer(changing: Sequence[Extent], digest: str) -> bytes:
    note = json.dumps({"raw": list(changing), "sha256": digest}).encode()
    return note + FOOTER.pack(len(note), MAGIC)


def footer_of(path: Path) -> bytes:
    """The bytes of a file's seal; none where it has no seal. Not collective."""
    with open(path, "rb") as file:
        end = _end(file)
        file.seek(end or 0)
        return b"" if end is None else file.read()


def is_sealed(path: Path) -> bool:
    """Whether the file has its seal, unbroken. Not collective."""
    return seal_of(path) is Seal.WHOLE


def seal_of(path: Path) -> Seal:
    """What the file's seal says; ABSENT for a file that cannot be read. Not collective."""
    try:
        with open(path, "rb") as file:
            end = _end(file)
            if end is None:
                return Seal.ABSENT
            if end < 0:
                return Seal.BROKEN
            file.seek(end)
            note = json.loads(file.read()[: -FOOTER.size])
            fits = _digest(file, note["raw"], end) == note["sha256"]
            return Seal.WHOLE if fits else Seal.BROKEN
    except OSError:
        return Seal.ABSENT
    except (ValueError, KeyError, TypeError):
        return Seal.BROKEN


def _end(file: BinaryIO) -> int | None:
    """Where the seal of an open file begins, negative for a damaged one; None without a seal."""
    size = file.seek(0, os.SEEK_END)
    if size < FOOTER.size:
        return None
    file.seek(size - FOOTER.size)
    length, magic = FOOTER.unpack(file.read(FOOTER.size))
    return size - FOOTER.size - length if magic == MAGIC else None


def _digest(file: BinaryIO, changing: Sequence[Extent], end: int) -> str:
    """SHA-256 of the bytes up to `end` outside the extents `changing`, and of the extents."""
    extents = [[int(at), int(length)] for at, length in changing]
    digest = hashlib.sha256(json.dumps(extents).encode())
    place = 0
    for at, length in (*extents, (end, 0)):
        if not place <= at <= end:
            raise ValueError("the extents overlap, or reach beyond the file")
        file.seek(place)
        digest.update(file.read(at - place))
        place = at + length
    return digest.hexdigest()
