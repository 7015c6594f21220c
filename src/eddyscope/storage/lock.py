"""A file that one program holds while it is at work; however the program ends, it lets go."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from eddyscope.config.errors import CaseError

__all__ = ["holding", "is_locked", "take_lock"]

TRIES = 5
"""To take a lock, before another program is said to hold it."""

PAUSE = 0.02
"""Seconds between tries: who only looks whether a file is locked holds it for a moment."""


def take_lock(path: Path) -> BinaryIO | None:
    """The file at `path`, locked until it is closed; None if another program holds it.

    On a file system without locks the file is given as if it were locked. Not collective.
    Raises OSError.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "something else than a file is there")
    file = open(path, "wb")  # noqa: SIM115 - the caller closes it
    for _ in range(TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE)
        except OSError:
            return file
        else:
            return file
    file.close()
    return None


@contextmanager
def holding(path: Path, patience: float) -> Iterator[None]:
    """Hold the lock at `path` for the time of a `with` block, once other programs let go.

    Not collective. CaseError where one holds it for more than `patience` seconds. Raises OSError.
    """
    deadline = time.monotonic() + patience
    while (file := take_lock(path)) is None:
        if time.monotonic() > deadline:
            raise CaseError(f"{path}: another program holds this lock; call again later")
    with file:
        yield


def is_locked(path: Path) -> bool | None:
    """Whether a program holds the lock at `path`; None where that cannot be told."""
    if path.exists() and not path.is_file():
        return None
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False
