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
means.csv
    One row a cell × model × system × metric: `value` is the mean over the test members, `members`
    how many there are. What pictures are drawn from; small enough to keep.
study.json
    Which cells there are, where they lie, and the commands that make each alone.
cells/<case>/<point>/cell.json
    The id of a cell that is complete, and the digest of its evaluation.csv.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import xarray as xr

from eddyscope.artefacts.evaluation import without_repeat
from eddyscope.config.errors import CaseError
from eddyscope.config.files import read_file, require_file
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.small import write_tree

__all__ = [
    "FORMAT",
    "KEYS",
    "Mean",
    "Table",
    "joined",
    "means_of",
    "read_mark",
    "read_table",
    "write_json",
    "write_means",
    "write_study",
    "write_table",
]

FORMAT = "eddyscope-study-1"

KEYS = ("case", "cell")
"""Columns that every table begins with; the settings that are varied follow."""

LARGEST = 4 * 2**30
"""Bytes of a table that is read; what is larger is none."""


@dataclass(frozen=True)
class Table:
    """Rows of texts under columns, the same for all."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def column(self, name: str) -> list[str]:
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


@dataclass(frozen=True)
class Mean:
    """One model of one cell, by one metric."""

    case: str
    settings: tuple[tuple[str, str], ...]
    """Setting that is varied -> its value, as written."""
    model: str
    """Its key without its repeat."""
    repeat: str
    """Repeat of the re-training; empty for the base model."""
    role: str
    words: str
    normalisation: str
    system: str
    metric: str
    value: float
    """Mean over the test members."""
    members: int


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
    write_table(folder / "study.csv", table)
    variables = {name: _variable(table.column(name)) for name in table.columns}
    write_tree(folder / "study.h5", {"": xr.Dataset(variables)}, {"format": FORMAT, "name": name})


def _variable(texts: Sequence[str]) -> xr.Variable:
    """A column: numbers, or places in a list of words."""
    try:
        return xr.Variable("row", np.array([float(text) if text else np.nan for text in texts]))
    except ValueError:
        words = sorted(set(texts))
        places = {word: place for place, word in enumerate(words)}
        codes = np.array([places[text] for text in texts], dtype=np.int32)
        return xr.Variable("row", codes, {"words": json.dumps(words, ensure_ascii=False)})


def means_of(table: Table, settings: Sequence[str]) -> list[Mean]:
    """The mean over the test members of each model, system and metric of each cell.

    settings: columns of what is varied. CaseError where the table lacks a column.
    """
    names = ("case", "model", "seed", "role", "words", "normalisation", "system", "metric", "value")
    missing = [name for name in (*names, *settings) if name not in table.columns]
    if missing:
        raise CaseError(f"the study's table has no column {missing[0]!r}; make it again")
    at = {name: table.columns.index(name) for name in (*names, *settings)}
    values: dict[tuple[str, ...], list[float]] = {}
    for row in table.rows:
        key = tuple(row[at[name]] for name in (*names[:-1], *settings))
        values.setdefault(key, []).append(float(row[at["value"]]))
    found = []
    for (case, model, seed, role, words, way, system, metric, *varied), each in values.items():
        found.append(
            Mean(
                case=case,
                settings=tuple(zip(settings, varied, strict=True)),
                model=without_repeat(model),
                repeat=seed,
                role=role,
                words=words,
                normalisation=way,
                system=system,
                metric=metric,
                value=float(np.mean(each)),
                members=len(each),
            )
        )
    return found


def write_means(path: Path, means: Sequence[Mean], settings: Sequence[str]) -> None:
    """means.csv. Not collective. Raises CannotWrite."""
    plain = [field.name for field in fields(Mean) if field.name not in ("case", "settings")]
    rows = [
        (mean.case, *(value for _, value in mean.settings), *(str(getattr(mean, n)) for n in plain))
        for mean in means
    ]
    write_table(path, Table(("case", *settings, *plain), rows))


def write_json(path: Path, tree: Mapping[str, object]) -> None:
    """study.json, or the mark of a cell. Not collective. Raises CannotWrite."""
    write_atomically(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")


def read_mark(path: Path) -> dict[str, str]:
    """What the mark of a cell says; nothing where it is missing or damaged."""
    try:
        found = json.loads(read_file(path))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
