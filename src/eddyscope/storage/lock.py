"""A file that one program holds while it is at work; however the program ends, it lets go."""

from __future__ import annotations

import errno
import fcntl
import time
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_locked", "take_lock"]

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
