"""The tables of a study, of whatever is complete: cells done here, and tables from elsewhere.

A case's table is cases/<case>.csv. It has the rows of all its cells that are complete here; and of
the others those that it had before, where these cells still belong to the study. So a study can be
done a case, or a cell, at a time, on other days or machines: copy their cases/*.csv here, and have
the tables made; what they have is not done again. A row tells by the id of its cell which settings
it is of: a table of other settings is passed over, and that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eddyscope.artefacts.evaluation import check_table
from eddyscope.artefacts.findings import Shift, shifts_of, write_findings
from eddyscope.artefacts.study import (
    FORMAT,
    KEYS,
    Table,
    errors_of,
    joined,
    read_mark,
    read_table,
    status_of,
    write_errors,
    write_json,
    write_study,
    write_table,
)
from eddyscope.config.errors import CaseError
from eddyscope.config.provenance import file_digest
from eddyscope.study.plan import Cell, Plan

__all__ = [
    "Tables",
    "from_elsewhere",
    "is_complete",
    "mark_complete",
    "record",
    "tables_of",
    "write_all",
]

MARK = "cell.json"


@dataclass(frozen=True)
class Tables:
    """What there is."""

    cases: dict[str, Table]
    """Case -> its table; without those of which nothing is there."""
    missing: Sequence[Cell]
    """Cells of which nothing is there."""
    notes: Sequence[str]
    """What was passed over, a line each."""

    def counts(self, plan: Plan) -> dict[str, tuple[int, int]]:
        """Case -> how many of its cells are there, and of how many."""
        gone = Counter(cell.name for cell in self.missing)
        every = Counter(cell.name for cell in plan.cells)
        return {name: (every[name] - gone[name], every[name]) for name in plan.cases}


def mark_complete(cell: Cell, out: Path) -> None:
    """Record that a cell is complete. Not collective. Raises CannotWrite."""
    folder = cell.folder(out)
    digest = file_digest(folder / "evaluation.csv")
    write_json(folder / MARK, {"id": cell.id, "evaluation": digest})


def is_complete(cell: Cell, out: Path) -> bool:
    """Whether a cell is complete here, with the settings that it has now. Not collective."""
    folder = cell.folder(out)
    mark = read_mark(folder / MARK)
    try:
        return mark.get("id") == cell.id and mark["evaluation"] == file_digest(
            folder / "evaluation.csv"
        )
    except (OSError, KeyError):
        return False


def from_elsewhere(plan: Plan, out: Path) -> set[str]:
    """Ids of the cells that are in the tables, and of which nothing else is here. Not collective.
    CaseError for a table that cannot be read."""
    found: set[str] = set()
    for name in plan.cases:
        gone = {c.id for c in plan.cells if c.name == name and not c.folder(out).exists()}
        kept, _ = _kept(out / "cases" / f"{name}.csv", gone, set())
        found |= set(kept.column("cell")) if kept is not None else set()
    return found


def tables_of(plan: Plan, out: Path) -> Tables:
    """The tables of all cases, from what is there. Not collective. CaseError for a table that
    cannot be read."""
    cases: dict[str, Table] = {}
    missing: list[Cell] = []
    notes: list[str] = []
    first = (*KEYS, *plan.axes)
    for name in plan.cases:
        cells = {cell.id: cell for cell in plan.cells if cell.name == name}
        here = {id: cell for id, cell in cells.items() if is_complete(cell, out)}
        parts = [_of_cell(cell, out) for cell in here.values()]
        kept, passed = _kept(out / "cases" / f"{name}.csv", set(cells), set(here))
        if passed:
            notes.append(
                f"cases/{name}.csv has {passed} cell(s) that are not of this study as it is now; "
                "passed over"
            )
        if kept is not None and kept.rows:
            parts.append(kept)
        there = {*here, *(kept.column("cell") if kept is not None else ())}
        missing += [cell for id, cell in cells.items() if id not in there]
        if parts:
            cases[name] = joined(parts, first)
    return Tables(cases, missing, notes)


def write_all(plan: Plan, out: Path, found: Tables) -> list[Shift]:
    """Write the tables of what was found; gives it by shifts. Not collective. Raises CaseError and
    CannotWrite."""
    first = (*KEYS, *plan.axes)
    for name, table in found.cases.items():
        write_table(out / "cases" / f"{name}.csv", table)
    whole = joined(list(found.cases.values()), first)
    write_study(out, whole, plan.name)
    errors = errors_of(whole, plan.axes)
    write_errors(out / "errors.csv", errors)
    shifts = shifts_of(errors)
    write_findings(out, shifts)
    write_json(out / "status.json", status_of(plan.name, found.counts(plan)))
    return shifts


def record(plan: Plan, out: Path, source: Path, resume: bool) -> None:
    """Write study.json. Not collective. CaseError where `resume` finds none; CannotWrite."""
    path = out / "study.json"
    if resume and not path.exists():
        raise CaseError(f"{out}: no study was begun here; leave out --resume")
    cells = [
        {
            "id": cell.id,
            "case": cell.name,
            "settings": dict(cell.point.values),
            "folder": str(cell.folder(Path())),
            "command": cell.command(out),
        }
        for cell in plan.cells
    ]
    tree = {"format": FORMAT, "name": plan.name, "study": str(source), "cells": cells}
    write_json(path, tree)


def _of_cell(cell: Cell, out: Path) -> Table:
    """The rows of a cell that is complete, with its columns in front."""
    path = cell.folder(out) / "evaluation.csv"
    check_table(path)
    table = read_table(path)
    settings = {name: "" if v is None else str(v) for name, v in cell.values.items()}
    front = (cell.name, cell.id, *settings.values())
    clash = next((name for name in table.columns if name in (*KEYS, *settings)), None)
    assert clash is None, f"{clash} is a column of evaluation.csv"
    return Table((*KEYS, *settings, *table.columns), [(*front, *row) for row in table.rows])


def _kept(path: Path, wanted: set[str], here: set[str]) -> tuple[Table | None, int]:
    """The rows of a case's table whose cells are wanted and not here; and how many cells of it
    are not wanted."""
    if not path.exists():
        return None, 0
    table = read_table(path)
    if table.columns[: len(KEYS)] != KEYS:
        raise CaseError(f"{path}: not a table of a study; move it away")
    ids = set(table.column("cell"))
    rows = [row for row in table.rows if row[1] in wanted - here]
    return Table(table.columns, rows), len(ids - wanted)
