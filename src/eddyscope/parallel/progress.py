"""Progress with time left, on rank 0: a line redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time

from eddyscope.parallel.output import write
from eddyscope.parallel.world import World

__all__ = ["Progress", "duration"]


def duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _people_watch() -> bool:
    """Whether standard output ends on a terminal.

    Open MPI gives its ranks a terminal of their own even where mpirun writes to a file, so
    the launcher's own output is looked at too; where that cannot be seen, the answer is no.
    """
    if not sys.stdout.isatty():
        return False
    if "OMPI_COMM_WORLD_RANK" not in os.environ:
        return True
    try:
        return os.readlink(f"/proc/{os.getppid()}/fd/1").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False


class Progress:
    """Counts from `start` to `total` and says how far it is, at most once in `every` seconds."""

    def __init__(self, world: World, label: str, total: int, start: int = 0):
        self.label = label
        self.total = total
        self.start = start
        self.silent = world.quiet or not world.is_root
        self.terminal = not self.silent and _people_watch()
        self.every = 0.2 if self.terminal else 10.0
        self.began = self.last = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` of the total are done; `note` adds a few words."""
        now = time.monotonic()
        finished = done >= self.total
        if self.silent or (now - self.last < self.every and not finished):
            return
        self.last = now
        worked = max(done - self.start, 1)
        spent = now - self.began
        words = f"{self.label}: {done}/{self.total}"
        if finished:
            words += f", took {duration(spent)}"
        else:
            words += f", {duration(spent / worked * (self.total - done))} left"
        if note:
            words += f" ({note})"
        if self.terminal:
            write(f"\r\x1b[2K{words}", end="\n" if finished else "")
        else:
            write(words)
