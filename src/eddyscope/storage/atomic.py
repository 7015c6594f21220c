"""Files written whole or not at all: to a temporary file, synced, renamed.

A kill leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from eddyscope.parallel.failure import CannotWrite, known_to_all
from eddyscope.parallel.world import Comm

__all__ = [
    "cannot_write",
    "fsync_folder",
    "replace_file",
    "write_atomically",
    "write_on_root",
]


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` by `content`, whole or not at all. Not collective.

    Raises CannotWrite."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        replace_file(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from None


def replace_file(temporary: Path, path: Path) -> None:
    """Sync `temporary` to the disk and rename it to `path`. Not collective."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` last, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems cannot sync a folder; the rename itself still holds
    finally:
        os.close(handle)


def write_on_root(path: Path, comm: Comm, write: Callable[[], None]) -> None:
    """Do `write`, of `path` by way of its temporary file, on rank 0; an OSError of it becomes a
    CannotWrite on all ranks. Collective."""
    problem: CannotWrite | None = None
    if comm.rank == 0:
        try:
            write()
        except OSError as error:
            problem = cannot_write(path, error)
        except CannotWrite as error:
            problem = error
    problem = comm.bcast(problem)
    if problem is not None:
        raise known_to_all(comm, problem)


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The error that users see when `path` could not be written; its temporary file is removed."""
    with suppress(OSError):
        path.with_name(path.name + ".tmp").unlink(missing_ok=True)
    reason = error.strerror or str(error)
    problem = f"{path}: cannot be written ({reason})"
    found = CannotWrite(
        f"{problem}; free space there and call again to go on from what is kept, or choose another "
        "folder with --out"
    )
    found.problem = problem
    return found
