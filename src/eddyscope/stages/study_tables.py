"""Tables and page of a study: in the end, and now and then while its cells are made."""

from __future__ import annotations

import math
import time
from pathlib import Path

from eddyscope.parallel.attempt import attempt
from eddyscope.parallel.output import write
from eddyscope.parallel.world import World
from eddyscope.storage.lock import holding, is_locked
from eddyscope.study.plan import Plan
from eddyscope.study.tables import tables_of, write_all

__all__ = ["write_now_and_then", "written"]

LOCK = "study.lock"

PATIENCE = 120.0
"""Seconds to wait for another program that writes the tables."""

PERIOD = 300.0
"""Seconds between tables while cells are made: they are read and drawn in some ten seconds."""


def written(plan: Plan, out: Path, patience: float = PATIENCE) -> str:
    """Write the tables and the page of what is complete; gives what is to be said. Not collective.
    Raises CannotWrite and CaseError, also where another program writes them for longer."""
    with holding(out / LOCK, patience):
        found = tables_of(plan, out)
        lines = list(found.notes)
        if found.cases:
            from eddyscope.report.study_page import write_page  # imports matplotlib

            shifts = write_all(plan, out, found)
            write_page(out, plan.name, shifts, plan.axes, found.counts(plan))
            lines.append(f"{out / 'study.csv'} and {out / 'study.html'} are written")
        done = len(plan.cells) - len(found.missing)
        lines.append(f"{done} of {len(plan.cells)} cells are complete")
    return "\n".join(f"study: {line}" for line in lines)


def write_now_and_then(plan: Plan, out: Path, group: World) -> None:
    """Write the tables of what is complete, unless they are young: so there are some however the
    study ends. What hinders that is said and ends nothing. Collective."""

    def write_old() -> None:
        another_does = is_locked(out / LOCK)
        if _age(out / "study.csv") > PERIOD and not another_does:
            written(plan, out, patience=0.0)

    outcome = attempt(group, lambda: group.on_root(write_old))
    if outcome.status and group.is_root:
        write(f"study: tables: not written: {outcome.line}")


def _age(path: Path) -> float:
    """Seconds since a file was written; infinite where there is none."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return math.inf
