"""Standard output, which may be closed while the program goes on, as by `| head`."""

from __future__ import annotations

import os
import sys

__all__ = ["flush", "write"]


def write(words: str, end: str = "\n") -> None:
    """Print at once; nothing any more once nobody reads. Not collective."""
    try:
        print(words, end=end, flush=True)
    except BrokenPipeError:
        _close()


def flush() -> None:
    """Print what waits, as `write`."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close()


def _close() -> None:
    """Let all further output vanish: the interpreter too would complain as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
