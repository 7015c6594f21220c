"""Opening HDF5 files to read, checked first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file
from eddyscope.storage.seal import Seal, seal_of

__all__ = ["REMAKE", "Headers", "OpenFile", "OpenGroup", "open_to_read", "plain", "read_headers"]

REMAKE = "move it away and make it again"
"""Of a file that cannot be used. Away, since what cannot say whose it is, is not replaced."""

OpenFile = h5py.File
OpenGroup = h5py.Group
"""For signatures in rooms that do not import h5py."""


@contextmanager
def open_to_read(path: Path, what: str = "HDF5 file") -> Iterator[h5py.File]:
    """An existing file, opened by this rank alone. CaseError if it is missing or damaged.

    A file without a seal, as those of other programs are, is opened on trust.
    """
    require_file(path, what)
    if seal_of(path) is Seal.BROKEN:
        raise CaseError(f"{path}: the metadata of this {what} is damaged: {REMAKE}")
    try:
        file = _opened(path)
    except OSError as error:
        reason = str(error).strip()
        raise CaseError(
            f"{path}: not a readable {what} ({reason}); it may be cut short or damaged: {REMAKE}"
        ) from None
    with file:
        yield file


def _opened(path: Path) -> h5py.File:
    """The file, without a lock; with one where this process has it open so already, by xarray."""
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking" not in str(error):
            raise
        return h5py.File(path, "r")


@dataclass(frozen=True)
class Headers:
    """What an HDF5 file says of itself; its data stays on the disk."""

    attributes: dict[str, Any]
    """Of the file, texts and numbers as Python has them."""
    groups: list[str] = field(default_factory=list)
    """Full names of all groups."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Full name of a variable -> its shape."""

    def inside(self, group: str) -> list[str]:
        """Names of what is directly inside a group ("" is the file)."""
        prefix = f"{group}/" if group else ""
        names = [*self.groups, *self.shapes]
        found = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        return [name for name in found if name and "/" not in name]


def read_headers(path: Path) -> Headers:
    """The headers of an HDF5 file. Not collective. CaseError if it is missing or damaged."""
    with open_to_read(path, "artefact") as file:
        headers = Headers({key: plain(value) for key, value in file.attrs.items()})

        def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                headers.shapes[name] = item.shape or ()
            else:
                headers.groups.append(name)

        file.visititems(note)
    return headers


def plain(value: Any) -> Any:
    """An attribute as plain Python has it."""
    value = value.decode() if isinstance(value, bytes) else value
    return value.item() if isinstance(value, np.generic) else value
