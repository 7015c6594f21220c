"""How every picture of the report looks: one palette, one size of type, one way of saving.

Colours are from Okabe and Ito's palette, which colour-blind readers can tell apart, and
mean the same thing everywhere: base, target and each kind of adaptation keep theirs.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eddyscope.artefacts.key import ModelKey

__all__ = [
    "COLOURS",
    "DIVERGING",
    "GREENS",
    "SEQUENTIAL",
    "Picture",
    "canvas",
    "colour_of",
    "grid_size",
    "styled",
    "words",
]

COLOURS = {
    "base": "#0072B2",
    "target": "#D55E00",
    "layers": "#009E73",
    "truth": "#222222",
    "all": "#CC79A7",
    "gain": "#E69F00",
    "scratch": "#56B4E9",
    "scale": "#7F7F7F",
    "none": "#999999",
    "other": "#7B4F9D",
    "ink": "#333333",
    "faint": "#D9DDE1",
}
"""What is shown -> its colour: the systems, the kinds of adaptation ("layers": layers as they
are; "other": kinds that have none of their own), truth, no closure, and the drawing's own."""

GREENS = ("#009E73", "#5CC4A4", "#00513C", "#A8DCCB")
"""For several models of the kind "layers" in one panel."""


def colour_of(key: ModelKey) -> str:
    """The colour of a model: that of its kind of adaptation."""
    return COLOURS.get(key.kind, COLOURS["other"])


DIVERGING = "RdBu_r"
"""For fields about zero."""
SEQUENTIAL = "cividis"
"""For amplitudes."""

WIDTH = 9.0
"""Inches of every picture: type then has one size on the page."""
DPI = 150
"""Dots an inch of the PNG files."""

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

    def png(self) -> bytes:
        """The picture as a PNG file has it."""
        content = io.BytesIO()
        with styled():
            self.figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
        return content.getvalue()


@contextmanager
def styled() -> Iterator[None]:
    """The report's settings of matplotlib, for the time of a `with` block."""
    settings: Any = SETTINGS
    with mpl.rc_context(settings):
        yield


def canvas(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, NDArray[Any]]:
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
