"""Attempts: what may fail without ending all else, its error kept as words and an exit status."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from eddyscope.config.errors import AtWork, CaseError, in_lines
from eddyscope.parallel.failure import BlewUp, CannotWrite, StoppedEarly
from eddyscope.parallel.world import World

__all__ = ["Outcome", "attempt"]

STATUSES: dict[type[Exception], int] = {CaseError: 2, BlewUp: 3, CannotWrite: 1, StoppedEarly: 4}
"""Errors that all ranks of a group raise together -> exit status of a program."""

PATIENCE = 20.0
"""Seconds to wait for the other ranks of a group to have the error too."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended."""

    status: int = 0
    """As the exit status of a program; 0 is done."""
    words: str = ""
    """Of the error."""
    left: bool = False
    """Whether another program is at work on it."""

    @property
    def line(self) -> str:
        """The line of them that says most: the first, or the last of a traceback."""
        lines = self.words.splitlines() or [""]
        return lines[-1 if lines[0].startswith("Traceback") else 0]


def attempt(group: World, work: Callable[[], object]) -> Outcome:
    """Do `work`, and give how it ended. Collective over the group, as `work` is.

    Raises what ranks of a group of several do not all raise, which ends the program: the others
    may be inside a collective call that will not end.
    """
    try:
        work()
    except tuple(STATUSES) as error:
        if not _all_here(group):
            raise
        status = next(s for kind, s in STATUSES.items() if isinstance(error, kind))
        return Outcome(status, in_lines(error), isinstance(error, AtWork))
    except Exception as error:
        if group.size > 1:
            raise
        return Outcome(1, "".join(traceback.format_exception(error)).rstrip())
    return Outcome()


def _all_here(group: World) -> bool:
    """Whether all ranks of the group get here in time. Collective."""
    request = group.comm.Ibarrier()
    deadline = time.monotonic() + PATIENCE
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
