"""Failing together: errors agreed by all ranks, and one traceback instead of a hang.

Bad input is raised on all ranks (`agree`) and ends with status 2; so is a file that cannot
be written (`CannotWrite`), which ends with one line and status 1. Where all ranks are known to
have the error, each leaves by itself, however slow the others are. Anything else that one rank
raises ends the whole job within seconds: the lowest failing rank prints its traceback, once,
and aborts.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

from mpi4py import MPI

from eddyscope.config.errors import CaseError, in_lines

__all__ = [
    "BlewUp",
    "CannotWrite",
    "NotFinite",
    "StoppedEarly",
    "TOGETHER",
    "agree",
    "all_true",
    "any_true",
    "guard",
    "known_to_all",
]

T = TypeVar("T")

DONE, FAILED, BAD_INPUT, BLEW_UP, STOPPED = 0, 1, 2, 3, 4
"""Exit statuses of the program."""

TIME_TO_ANSWER = 3.0
"""Seconds a failing rank waits to learn whether the others fail too."""

TIME_TO_AGREE = 20.0
"""The same where an error is of a kind that all ranks raise, only some later than others."""

TIME_TO_SPEAK = 1.0
"""Seconds that a rank which is not to speak leaves to the one that is, before the job ends."""

KNOWN_TO_ALL = "known_to_all"
"""Attribute of an error that every rank of the job has."""

E = TypeVar("E", bound=Exception)


class BlewUp(Exception):
    """A simulation or a training is no longer finite; raised on all ranks together. Exit status 3.

    more: others that did likewise, a line each.
    """

    def __init__(self, words: str, more: Sequence[str] = ()):
        super().__init__(words)
        self.more = tuple(more)


class NotFinite(Exception):
    """What would be written is not finite; raised on all ranks together."""


class CannotWrite(Exception):
    """A file cannot be written, as on a full disk; raised on all ranks together. Exit status 1."""

    problem: str = ""
    """What is wrong, without the way out."""


class StoppedEarly(Exception):
    """Stopped on request after a checkpoint; raised on all ranks together. Exit status 4."""


ENDINGS: dict[type[Exception], tuple[int, str]] = {
    CaseError: (BAD_INPUT, ""),
    BlewUp: (BLEW_UP, "blew up: "),
    CannotWrite: (FAILED, ""),
    StoppedEarly: (STOPPED, "stopped early: "),
}
"""Errors that all ranks raise together: exit status, and what the line begins with."""

TOGETHER = tuple(ENDINGS)


def any_true(comm: MPI.Intracomm, flag: bool) -> bool:
    """Whether `flag` holds on any rank. Collective."""
    return bool(comm.allreduce(bool(flag), op=MPI.LOR))


def all_true(comm: MPI.Intracomm, flag: bool) -> bool:
    """Whether `flag` holds on every rank. Collective."""
    return bool(comm.allreduce(bool(flag), op=MPI.LAND))


def agree(comm: MPI.Intracomm, function: Callable[[], T]) -> T:
    """Call `function` on every rank; if any raised CaseError, all raise the lowest rank's.

    Collective; `function` itself must not communicate.
    """
    result: T | None = None
    error: CaseError | None = None
    try:
        result = function()
    except CaseError as raised:
        error = raised
    if any_true(comm, error is not None):
        raise known_to_all(comm, next(e for e in comm.allgather(error) if e is not None))
    return result  # type: ignore[return-value]


def known_to_all(comm: MPI.Intracomm, error: E) -> E:
    """Mark an error that all ranks of `comm` raise now, where these are the whole job."""
    setattr(error, KNOWN_TO_ALL, comm.size == MPI.COMM_WORLD.size)
    return error


def guard(main: Callable[[], int]) -> int:
    """Run a whole program and give its exit status; see the module for what errors do.

    Collective over COMM_WORLD.
    """
    alarm = MPI.COMM_WORLD.Dup()
    try:
        return main()
    except TOGETHER as error:
        status, words = next(found for kind, found in ENDINGS.items() if isinstance(error, kind))
        message = f"eddyscope: {words}{in_lines(error)}"
        if getattr(error, KNOWN_TO_ALL, False):
            if alarm.rank == 0:
                print(message, file=sys.stderr, flush=True)
            return status
        return _leave(alarm, status, message, TIME_TO_AGREE)
    except BaseException as error:  # SystemExit and KeyboardInterrupt must not leave others waiting
        if isinstance(error, SystemExit) and error.code in (0, None):
            return DONE
        text = "".join(traceback.format_exception(error))
        head = f"eddyscope: rank {alarm.rank} of {alarm.size} failed:\n"
        return _leave(alarm, FAILED, head + text, TIME_TO_ANSWER)


def _leave(alarm: MPI.Intracomm, status: int, message: str, patience: float) -> int:
    """Print `message` on the lowest failing rank; return if all ranks are here, else abort.

    patience: seconds to wait for the others. Polled, never blocking: they may be inside a
    collective that will not end.
    """
    speaks = True
    requests = [
        alarm.isend(status, dest=other) for other in range(alarm.size) if other != alarm.rank
    ]
    heard = 0
    deadline = time.monotonic() + patience
    while heard < alarm.size - 1 and time.monotonic() < deadline:
        state = MPI.Status()
        if alarm.iprobe(status=state):
            alarm.recv(source=state.source)
            heard += 1
            speaks = speaks and state.source > alarm.rank
        else:
            time.sleep(0.005)
    if speaks:
        print(message.rstrip(), file=sys.stderr, flush=True)
    if heard == alarm.size - 1:
        MPI.Request.waitall(requests)
        return status
    if not speaks:
        time.sleep(TIME_TO_SPEAK)  # let the speaking rank's words out before the job ends
    alarm.Abort(status)
