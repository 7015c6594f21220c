"""The table of layers: the same rows for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eddyscope.report.findings import CONTROLS, Findings
from eddyscope.report.results import Absent

__all__ = ["Table", "layer_table"]


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header; `strong` are the places of rows to point out."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()
    strong_means: str = ""
    note: str = ""

    def text(self) -> str:
        """For a terminal: columns aligned, the rows pointed out marked by a star."""
        lines = [("", *self.header)]
        lines += [("*" if i in self.strong else "", *row) for i, row in enumerate(self.rows)]
        widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
        aligned = [_align(line, widths) for line in lines]
        aligned.insert(1, "-" * max(len(line) for line in aligned))
        notes = [f"* {self.strong_means}"] if self.strong else []
        return "\n".join([*aligned, *notes, *([self.note] if self.note else [])])


def layer_table(findings: Findings) -> Table:
    """Every model on the target: base, the layers, the controls; best layer pointed out."""
    known = ("base", *findings.layers, *CONTROLS)
    # Single repeats ("l02.seed1") are in their mean already.
    others = [name for name in findings.target if name not in known and "." not in name]
    names = ["base", *findings.layers, *sorted(others), *CONTROLS]
    names = [name for name in names if name in findings.target]
    header = (
        "re-trained",
        "error on target",
        "less than base",
        "spectrum error",
        *(score.name.replace("_", " ") for score in findings.scores),
    )
    rows = tuple(_row(findings, name) for name in names)
    strong = (names.index(findings.best),) if findings.layers else ()
    note = "error: mean squared error over mean square; ±: standard deviation over held-out runs"
    if findings.scores:
        note += "\nlast columns: the rank that each score gave before any re-training"
    return Table(header, rows, strong, "the least error of the single layers", note)


def _row(findings: Findings, name: str) -> tuple[str, ...]:
    ranks = [score.rank(name) for score in findings.scores]
    return (
        _label(name),
        str(findings.error(name)),
        _gain(findings, name),
        _spectrum_error(findings, name),
        *("" if rank is None else str(rank) for rank in ranks),
    )


def _gain(findings: Findings, name: str) -> str:
    if name == "base":
        return ""
    paired = findings.paired_gain(name)
    if paired is None:
        return f"{round(100 * findings.gain(name))} %"
    return f"{round(100 * paired.mean)} ± {round(100 * paired.spread)} %"


def _label(name: str) -> str:
    if name == "base":
        return "nothing (base)"
    return f"{name} ({CONTROLS[name]})" if name in CONTROLS else name


def _spectrum_error(findings: Findings, name: str) -> str:
    try:
        return str(findings.metric(name, "spectrum_error"))
    except Absent:
        return "not there"


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    parts = [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(parts).rstrip()
