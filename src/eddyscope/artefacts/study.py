"""The tables of a study: what its cells have measured, in files that other programs read.

cases/<case>.csv
    The evaluations of a case's complete cells, one below the other: `case`, `cell` (an id of all
    that decides it), a column for each setting that is varied, as in `training.seed`, and then the
    columns of evaluation.csv (`artefacts/evaluation.py`). A number that does not apply is empty.
study.csv
    All cases, one below the other, with the same columns.
study.h5
    The same, dimension `row`, a variable a column; numbers that do not apply are NaN. A column of
    words holds places in the list `words` of its attributes.
errors.csv
    Of study.csv what all findings and pictures are made from, columns as in `Error`: one row a cell
    × model × test member of the target; small enough to keep.
summary.csv, findings.csv
    What these say of each shift and number of samples, see `artefacts/findings.py`.
status.json
    Of how many cells there are tables, and of how many in all; the same by case.
study.json
    Which cells there are, where they lie, and the commands that make each alone.
cells/<case>/<point>/cell.json
    The id of a cell that is complete, and the digest of its evaluation.csv.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from eddyscope.artefacts.evaluation import without_repeat
from eddyscope.artefacts.status import now
from eddyscope.config.arrays import AnyArray
from eddyscope.config.errors import CaseError
from eddyscope.config.files import read_file, require_file
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.small import write_tree

__all__ = [
    "FORMAT",
    "KEYS",
    "SAMPLES",
    "SEEDS",
    "Error",
    "Table",
    "errors_of",
    "joined",
    "read_mark",
    "read_table",
    "status_of",
    "write_errors",
    "write_json",
    "write_study",
    "write_table",
]

FORMAT = "eddyscope-study-1"

KEYS = ("case", "cell")
"""Columns that every table begins with; the settings that are varied follow."""

SAMPLES = "transfer.samples"
"""Setting of how many target samples models are re-trained on."""

SEEDS = ("seed", "training.seed", "transfer.seed")
"""Settings whose values are repeats of one and the same question."""

LARGEST = 4 * 2**30
"""Bytes of a table that is read; what is larger is none."""


NEEDED = ("case", "cell", "model", "seed", "role", "words", "recipe", "normalisation",
          "training_seed", "transfer_seed", "system", "metric", "member", "value",
          "held_out_error", "converged")  # fmt: skip
"""Columns that findings need."""


@dataclass(frozen=True)
class Table:
    """Rows of texts under columns, the same for all."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def column(self, name: str) -> list[str]:
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


@dataclass(frozen=True)
class Error:
    """The error that one model leaves on one test member of the target."""

    case: str
    cell: str
    settings: tuple[tuple[str, str], ...]
    """Setting that is varied -> its value, as written; a column each."""
    model: str
    """Its key without its repeat."""
    repeat: str
    """Of the re-training; empty for the base model."""
    role: str
    words: str
    recipe: str
    normalisation: str
    training_seed: str
    transfer_seed: str
    member: str
    error: float
    """Mean squared error over the mean square of Π."""
    held_out_error: float
    """As in evaluation.csv; NaN where that is empty."""
    converged: int | None
    """As in evaluation.csv; None where that is empty."""

    @property
    def samples(self) -> int:
        """Target samples of the cell."""
        return int(dict(self.settings).get(SAMPLES) or 0)

    @property
    def others(self) -> tuple[tuple[str, str], ...]:
        """What is varied but seeds and samples."""
        return tuple(pair for pair in self.settings if pair[0] not in (SAMPLES, *SEEDS))

    @property
    def base_model(self) -> str:
        """Which base model it is of."""
        return f"{dict(self.settings).get('seed', '')} {self.training_seed}"

    @property
    def training(self) -> str:
        """Which of all trainings of its model it is of."""
        return f"{self.cell} {self.repeat}"


def read_table(path: Path) -> Table:
    """A table of ours, or an evaluation.csv. Not collective. CaseError for what is no table."""
    require_file(path, "table", largest=LARGEST)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            columns = tuple(next(reader, []))
            rows = [tuple(map(sys.intern, row)) for row in reader]  # few different words
    except (OSError, ValueError, csv.Error) as error:
        raise CaseError(f"{path}: not readable as a table ({error})") from None
    if not columns or any(len(row) != len(columns) for row in rows):
        raise CaseError(f"{path}: not a table: its rows are not all as long as the first")
    return Table(columns, rows)


def joined(tables: Sequence[Table], first: Sequence[str]) -> Table:
    """Tables one below the other, with the columns of all: those named first, then the others as
    they come; a cell of a column that a table does not have is empty."""
    columns = tuple(dict.fromkeys([*first, *(name for t in tables for name in t.columns)]))
    rows: list[tuple[str, ...]] = []
    for table in tables:
        if table.columns == columns:
            rows += table.rows
            continue
        places = [table.columns.index(c) if c in table.columns else None for c in columns]
        rows += [tuple("" if p is None else row[p] for p in places) for row in table.rows]
    return Table(columns, rows)


def write_table(path: Path, table: Table) -> None:
    """As CSV. Not collective. Raises CannotWrite."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    write_atomically(path, text.getvalue())


def write_study(folder: Path, table: Table, name: str) -> None:
    """study.csv and study.h5. Not collective. Raises CannotWrite."""
    import xarray as xr

    write_table(folder / "study.csv", table)
    variables = {name: _variable(table.column(name)) for name in table.columns}
    write_tree(folder / "study.h5", {"": xr.Dataset(variables)}, {"format": FORMAT, "name": name})


def _variable(texts: Sequence[str]) -> tuple[str, AnyArray, dict[str, str]]:
    """A column: numbers, or places in a list of words."""
    try:
        return "row", np.array([float(text) if text else np.nan for text in texts]), {}
    except ValueError:
        words = sorted(set(texts))
        places = {word: place for place, word in enumerate(words)}
        codes = np.array([places[text] for text in texts], dtype=np.int32)
        return "row", codes, {"words": json.dumps(words, ensure_ascii=False)}


def errors_of(table: Table, settings: Sequence[str]) -> list[Error]:
    """The errors on the target's test members, of a study's table.

    settings: columns of what is varied. CaseError where the table lacks a column.
    """
    missing = [name for name in (*NEEDED, *settings) if name not in table.columns]
    if missing:
        raise CaseError(
            f"the study's tables have no column {missing[0]!r}: they are of another version; move "
            "cases/ and cells/*/*/evaluation.* away, and call again"
        )
    system, metric = (table.columns.index(name) for name in ("system", "metric"))
    chosen = (row for row in table.rows if (row[system], row[metric]) == ("target", "error"))
    return [_error(dict(zip(table.columns, row, strict=True)), settings) for row in chosen]


def _error(row: Mapping[str, str], settings: Sequence[str]) -> Error:
    return Error(
        case=row["case"],
        cell=row["cell"],
        settings=tuple((name, row[name]) for name in settings),
        model=without_repeat(row["model"]),
        repeat=row["seed"],
        role=row["role"],
        words=row["words"],
        recipe=row["recipe"],
        normalisation=row["normalisation"],
        training_seed=row["training_seed"],
        transfer_seed=row["transfer_seed"],
        member=row["member"],
        error=float(row["value"]),
        held_out_error=float(row["held_out_error"] or math.nan),
        converged=int(row["converged"]) if row["converged"] else None,
    )


def write_errors(path: Path, errors: Sequence[Error]) -> None:
    """errors.csv. Not collective. Raises CannotWrite."""
    plain = [field.name for field in fields(Error) if field.name != "settings"]
    settings = [name for name, _ in errors[0].settings] if errors else []
    rows = [
        (*(value for _, value in each.settings), *(_as_text(getattr(each, n)) for n in plain))
        for each in errors
    ]
    write_table(path, Table((*settings, *plain), rows))


def _as_text(value: str | float | None) -> str:
    return "" if value is None or value != value else str(value)


def status_of(name: str, cells: Mapping[str, tuple[int, int]]) -> dict[str, object]:
    """The content of status.json. cells: case -> cells that are complete, and cells in all."""
    complete, every = (sum(counts[place] for counts in cells.values()) for place in (0, 1))
    by_case = {case: f"{done} of {of}" for case, (done, of) in cells.items()}
    return {
        "format": FORMAT,
        "name": name,
        "complete": complete,
        "cells": every,
        "missing": every - complete,
        "cases": by_case,
        "updated": now(),
    }


def write_json(path: Path, tree: Mapping[str, object]) -> None:
    """study.json, status.json, or the mark of a cell. Not collective. Raises CannotWrite."""
    write_atomically(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")


def read_mark(path: Path) -> dict[str, str]:
    """What the mark of a cell says; nothing where it is missing or damaged."""
    try:
        found = json.loads(read_file(path))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
