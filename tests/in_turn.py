"""Several command lines in one job, one after the other: it is started, and imports, once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard

__all__ = ["Ended", "in_turn", "on_ranks"]

MARK = "ended in turn: "

PROGRAM = f"""
import json, sys, time
from mpi4py import MPI
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
comm = MPI.COMM_WORLD
for words in json.loads(sys.argv[1]):
    status = guard(lambda: dispatch(words))
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(0.05)  # until the launcher has passed on what other ranks said
    statuses = comm.allgather(status)
    if comm.rank == 0:
        for stream in sys.stdout, sys.stderr:
            print("\\n{MARK}" + json.dumps(statuses), file=stream, flush=True)
    comm.Barrier()
"""


@dataclass(frozen=True)
class Ended:
    """How one command ended, as a job of its own would have."""

    returncode: int
    stdout: str
    stderr: str


def in_turn(
    launch: Callable[..., Any],
    ranks: int,
    calls: Sequence[Sequence[str]],
    limit: float,
    first: str = "",
) -> list[Ended]:
    """How each of `calls` ends on so many ranks; all of them must end with one exit status.

    first: lines of Python that the job begins with."""
    words = json.dumps([[str(word) for word in call] for call in calls])
    job = launch(ranks, [sys.executable, "-c", first + PROGRAM, words], limit)
    assert job.returncode == 0, job.stderr
    said = [parts(job.stdout), parts(job.stderr)]
    assert len(said[0]) == len(said[1]) == len(calls), job.stderr
    ended = []
    for (out, statuses), (err, _) in zip(*said, strict=True):
        assert len(set(statuses)) == 1, f"ranks end with {statuses}: {err}"
        ended.append(Ended(statuses[0], out, err))
    return ended


def on_ranks(
    launch: Callable[..., Any], capfd: Any, ranks: int, calls: Sequence[Sequence[str]], limit: float
) -> list[Ended]:
    """The same, where one rank is this process; `capfd` is pytest's."""
    if ranks > 1:
        return in_turn(launch, ranks, calls, limit)
    ended = []
    for call in calls:
        capfd.readouterr()
        status = guard(lambda: dispatch([str(word) for word in call]))  # noqa: B023
        ended.append(Ended(status, *capfd.readouterr()))
    return ended


def parts(words: str) -> list[tuple[str, list[int]]]:
    """What each call said, and the exit status of each rank."""
    first, *others = words.split(f"\n{MARK}")
    statuses = [json.loads(text.partition("\n")[0]) for text in others]
    said = [first, *(text.partition("\n")[2] for text in others)]
    return list(zip(said, statuses, strict=False))  # nothing is said after the last
