"""Opening HDF5 files to read, checked first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file
from eddyscope.storage.seal import Seal, seal_of

__all__ = ["OpenFile", "OpenGroup", "open_to_read"]

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
        raise CaseError(f"{path}: the metadata of this {what} is damaged: make it again")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        reason = str(error).strip()
        raise CaseError(
            f"{path}: not a readable {what} ({reason}); "
            "it may be cut short or damaged: make it again"
        ) from None
    with file:
        yield file
