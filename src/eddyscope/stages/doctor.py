"""`eddyscope doctor`: is this machine set up right? One line a finding, with its remedy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from eddyscope.config.errors import CaseError
from eddyscope.parallel.launch import launch
from eddyscope.parallel.world import World
from eddyscope.spectral.backends.precisions import fftw_precisions
from eddyscope.storage.probe import SET_UP, Check, check_libraries, check_ranks, fail, ok, report

__all__ = ["run"]

PATIENCE = 120.0
"""Seconds that two ranks may take to start and try everything; they need about five."""


def run(world: World) -> int:
    """Print the findings; exit status 0 if nothing failed, else 1. Collective.

    Started as a single process, it starts two ranks of its own for the trials that
    need company; started on more, it tries these.
    """
    healthy = report(world, [*check_libraries(), check_fftw()])
    if world.size > 1:
        return int(not (report(world, check_ranks(world)) and healthy))
    return int(not (report(world, check_two_ranks()) and healthy))


def check_fftw() -> Check:
    """float and double are needed; nothing here uses long double."""
    found = fftw_precisions()
    words = "FFTW in " + ", ".join(name for name, present in found.items() if present)
    missing = [name for name in ("float", "double") if not found[name]]
    if not missing:
        return ok(words)
    return fail(
        f"{words}; no {' and no '.join(missing)}",
        f"install FFTW for all precisions (libfftw3-dev), then {SET_UP} after removing .venv",
    )


def check_two_ranks() -> Iterator[Check]:
    """The trials on ranks, by two ranks started for it; their own lines are passed on."""
    try:
        ended = launch(2, [sys.executable, "-m", "eddyscope.storage.probe"], PATIENCE)
    except CaseError as error:
        yield fail("no ranks started", str(error))
        return
    except subprocess.TimeoutExpired:
        yield fail(
            f"two ranks did not finish in {PATIENCE:.0f} s",
            "start them yourself to see where they hang: mpirun -n 2 eddyscope doctor",
        )
        return
    explained = False
    for line in ended.stdout.splitlines():
        verdict, _, words = line.partition(" ")
        if verdict in ("ok", "warn", "FAIL"):
            explained = explained or verdict == "FAIL"
            yield Check(verdict, words.strip())
    if ended.returncode != 0 and not explained:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        yield fail(
            f"two ranks ended with status {ended.returncode} ({last})",
            "start them yourself to see all they say: mpirun -n 2 eddyscope doctor",
        )
