"""How every picture of the report looks: one palette, one size of type, one way of saving.

Colours are from Okabe and Ito's palette, which colour-blind readers can tell apart, and
mean the same thing everywhere: base, target and transfer learning each keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DIVERGING",
    "SEQUENTIAL",
    "Picture",
    "canvas",
    "grid_size",
    "styled",
    "words",
]

COLOURS = {
    "base": "#0072B2",
    "target": "#D55E00",
    "transfer": "#009E73",
    "truth": "#222222",
    "all": "#CC79A7",
    "gain": "#E69F00",
    "scratch": "#56B4E9",
    "scale": "#7F7F7F",
    "none": "#999999",
    "ink": "#333333",
    "faint": "#D9DDE1",
}
"""What a line shows -> its colour."""

DIVERGING = "RdBu_r"
"""For fields about zero."""
SEQUENTIAL = "cividis"
"""For amplitudes."""

WIDTH = 9.0
"""Inches of every picture: type then has one size on the page."""
DPI = 150

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.edgecolor": "#8A9299",
    "axes.linewidth": 0.7,
    "axes.labelcolor": "#333333",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E8EBEE",
    "grid.linewidth": 0.6,
    "xtick.color": "#5A6268",
    "ytick.color": "#5A6268",
    "xtick.labelcolor": "#333333",
    "ytick.labelcolor": "#333333",
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "#222222",
}


@dataclass(frozen=True)
class Picture:
    """A figure with the words that belong to it."""

    name: str
    """File stem of the PNG."""
    title: str
    caption: str
    """For readers who have read nothing else; plain text."""
    alt: str
    """What the picture shows, for those who cannot see it; plain text."""
    figure: Figure

    def save(self, folder: Path) -> Path:
        """Write <folder>/<name>.png."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.png"
        with styled():
            self.figure.savefig(path, dpi=DPI, metadata={"Software": None})
        return path


@contextmanager
def styled() -> Iterator[None]:
    """The report's settings of matplotlib, for the time of a `with` block."""
    settings: Any = SETTINGS
    with mpl.rc_context(settings):
        yield


def canvas(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of the report's width and its axes, always an array (rows, columns)."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, **{"squeeze": False, **options})
    return figure, axes


def grid_size(count: int, widest: int) -> tuple[int, int]:
    """Rows and columns for `count` panels, at most `widest` columns, as even as possible."""
    rows = -(-count // widest)
    return rows, -(-count // rows)


def words(text: str) -> str:
    """Text over several lines of source as one line."""
    return " ".join(text.split())
