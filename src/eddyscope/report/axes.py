"""Axes as the report wants them: fields over the box, wavenumbers, logarithms, marks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from eddyscope.config.arrays import FloatArray, RealArray
from eddyscope.report.style import DIVERGING

__all__ = [
    "log_limits",
    "mark",
    "plain_log",
    "show_field",
    "spread_apart",
    "wavenumber_axis",
]


def show_field(
    axes: Axes, field: RealArray, limit: float, title: str, colour: str = "#222222"
) -> AxesImage:
    """A field over the box 2π × 2π, colours from −limit to limit. Returns the image."""
    extent = (0.0, 2.0, 0.0, 2.0)
    image = axes.imshow(
        field, origin="lower", extent=extent, cmap=DIVERGING, vmin=-limit, vmax=limit
    )
    axes.set_title(title, color=colour)
    axes.set(xticks=[0, 1, 2], yticks=[0, 1, 2], xlabel="x / π", ylabel="y / π")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def wavenumber_axis(axes: Axes, largest: float, label: str = "wavenumber k") -> None:
    """A logarithmic axis of wavenumbers from 1 to `largest`, with plain numbers."""
    ticks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if k <= largest]
    axes.set(xscale="log", xlim=(1.0, largest), xlabel=label)
    axes.set_xticks(ticks, [str(k) for k in ticks])
    axes.set_xticks([], minor=True)


def plain_log(axes: Axes) -> None:
    """A logarithmic y axis, once its curves are drawn, with plain numbers: 0.2, 0.5, 1, 2.

    Over less than a factor of 1.5 it stays linear, since a logarithmic one has no marks there.
    """
    low, high = axes.get_ylim()
    if 0.0 < high < 1.5 * low:
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    wide = high / max(low, 1e-300) > 12.0
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide else (1, 1.5, 2, 3, 4, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def mark(axes: Axes, x: float, text: str, colour: str, top: bool = False) -> None:
    """A vertical line at `x`, with words beside it near the bottom or the top of the panel."""
    axes.axvline(x, color=colour, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        text,
        (x, 0.97 if top else 0.03),
        xycoords=("data", "axes fraction"),
        xytext=(3, 0),
        textcoords="offset points",
        color=colour,
        fontsize=7.5,
        rotation=90,
        va="top" if top else "bottom",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        zorder=5,
    )


def spread_apart(values: Sequence[float], gap: float) -> list[float]:
    """Places for labels of ascending values: at least `gap` apart, and near what they name."""
    blocks: list[tuple[float, list[float]]] = []
    for value in values:
        middle, members = value, [value]
        # Labels that would overlap are stacked about the mean of what they name.
        while blocks and middle - blocks[-1][0] < gap * (len(members) + len(blocks[-1][1])) / 2:
            members = [*blocks.pop()[1], *members]
            middle = sum(members) / len(members)
        blocks.append((middle, members))
    return [
        middle + gap * (place - (len(members) - 1) / 2)
        for middle, members in blocks
        for place in range(len(members))
    ]


def log_limits(curves: Sequence[FloatArray], decades: float) -> tuple[float, float]:
    """Limits of a logarithmic axis: the curves' range, but at most so many decades deep."""
    values = np.concatenate([np.ravel(c) for c in curves])
    values = values[np.isfinite(values) & (values > 0)]
    if values.size == 0:
        return 0.1, 1.0
    top = float(values.max()) * 2.0
    return max(float(values.min()) / 2.0, top * 10.0**-decades), top
