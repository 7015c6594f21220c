"""How every picture of the report looks: one palette, one size of type, one way of saving.

Colours are mostly from Okabe and Ito's palette, which colour-blind readers can tell apart, and
mean the same thing everywhere: base, target and each re-trained model keep theirs. A model has
its colour by the role of its adaptation, and by its order among those of that role.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.role import Role
from eddyscope.report.results import Results

__all__ = [
    "COLOURS",
    "DIVERGING",
    "ROLES",
    "SEQUENTIAL",
    "Picture",
    "Style",
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
    "pale layers": "#A8DCCB",
    "truth": "#222222",
    "ink": "#333333",
    "faint": "#D9DDE1",
    "no data": "#C8CDD2",
}
"""What is shown -> its colour: the systems, re-trained layers, truth, and the drawing's own."""

ROLES: dict[Role, tuple[str, ...]] = {
    "base": (COLOURS["base"],),
    "layers": (COLOURS["layers"],),
    "ceiling": ("#CC79A7", "#882255"),
    "floor": ("#7F7F7F", "#4D4D4D"),
    "control": ("#E69F00", "#56B4E9", "#7B4F9D", "#8C6D31", "#332288", "#AA4499"),
}
"""Role of an adaptation -> colours of its models, in their order; they begin anew at the end."""


def colour_of(results: Results, key: ModelKey) -> str:
    """The colour of a model, the same in every picture of a report."""
    role = results.told(key).role
    alike = [name for name, told in results.adapted.items() if told.role == role]
    name = str(replace(key, seed=None))
    place = alike.index(name) if name in alike else 0
    return ROLES[role][place % len(ROLES[role])]


DIVERGING = "RdBu_r"
"""For fields about zero."""
SEQUENTIAL = "cividis"
"""For amplitudes."""

Style = str | tuple[float, tuple[float, ...]]
"""A line's style as matplotlib takes it."""

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
