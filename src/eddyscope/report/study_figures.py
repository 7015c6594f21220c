"""Pictures of a study: error against samples, and layer by layer, a panel a case."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eddyscope.artefacts.key import BASE
from eddyscope.report.results import Absent
from eddyscope.report.study_results import Comparison, spread
from eddyscope.report.style import COLOURS, ROLES, Picture, canvas, grid_size, words

__all__ = ["STUDY_PICTURES", "layers", "samples"]

WIDEST = 3
"""Panels side by side."""

HEIGHT = 2.5
"""Inches of a panel."""

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))
"""Lines of models of one role, in their order."""


def samples(compared: Sequence[Comparison]) -> Picture:
    """Error against the number of target samples, a panel a case."""
    several = [each for each in compared if len(each.errors) > 1]
    if not several:
        raise Absent("every case has one number of target samples")
    figure = _panel_grid(several, _samples_panel)
    caption = words(
        """Error of each model on the target's test members (the mean square of Π is 1) against the
        number of target samples that it was re-trained on. Thin lines: one layer each, from the
        first (dark) to the last (light). Thick lines: all layers, and the floors that need
        little or no training. Points are medians over those seeds that there are at every number of
        samples (all, where there are none such); bars reach from the least to the
        largest."""
    )
    alt = "A panel a case: lines of error falling with the number of target samples."
    return Picture("samples", "How much the target samples bring", caption, alt, figure)


def layers(compared: Sequence[Comparison]) -> Picture:
    """Error by re-trained layer, a panel a case."""
    several = [each for each in compared if each.layers]
    if not several:
        raise Absent("no layer was re-trained alone")
    figure = _panel_grid(several, _layers_panel)
    caption = words(
        """Error on the target's test members after re-training one layer, first to last; the
        median over seeds, with the least and the largest. Lines across: what it is compared with.
        A layer above the floors brings nothing that a few numbers could not. Of each case the
        number of samples with most trainings is shown."""
    )
    alt = "A panel a case: error by layer, with lines for the floors and for all layers."
    return Picture("layers", "Which layer, by shift", caption, alt, figure)


STUDY_PICTURES: tuple[Callable[[Sequence[Comparison]], Picture], ...] = (layers, samples)


def _panel_grid(compared: Sequence[Comparison], draw: Callable[[Axes, Comparison], None]) -> Figure:
    rows, columns = grid_size(len(compared), WIDEST)
    figure, axes = canvas(rows, columns, HEIGHT * rows + 0.6)
    for place, panel in enumerate(axes.flat):
        if place < len(compared):
            draw(panel, compared[place])
            panel.set_title(compared[place].title)
        else:
            panel.set_visible(False)
    named: dict[str, Artist] = {}
    for panel in axes.flat:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=5)
    return figure


def _samples_panel(axes: Axes, compared: Comparison) -> None:
    amounts, common = list(compared.errors), compared.in_common
    for name, colour, style, width, label in _lines(compared):
        there = [n for n in amounts if name in compared.errors[n]]
        values = np.array([spread(compared.errors[n][name], common) for n in there]).T
        bars = np.maximum(np.array([values[0] - values[1], values[2] - values[0]]), 0.0)
        axes.errorbar(there, values[0], yerr=bars, color=colour, linestyle=style, linewidth=width,
                      elinewidth=0.6, label=label, marker=".", markersize=4)  # fmt: skip
    axes.set(xscale="log", xlabel="target samples", ylabel="error on target")
    axes.set_xticks(amounts, [str(n) for n in amounts])
    axes.set_xticks([], minor=True)


def _layers_panel(axes: Axes, compared: Comparison) -> None:
    errors = compared.errors[compared.most_repeated]
    names = [name for name in compared.layers if name in errors]
    values = np.array([spread(errors[name]) for name in names]).T
    bars = np.maximum(np.array([values[0] - values[1], values[2] - values[0]]), 0.0)
    axes.errorbar(range(len(names)), values[0], yerr=bars, color=COLOURS["layers"], marker="o",
                  markersize=4, capsize=2, label="one layer")  # fmt: skip
    for name, colour, style, width, label in _lines(compared):
        if name in errors and name not in compared.layers:
            middle = spread(errors[name])[0]
            axes.axhline(middle, color=colour, linestyle=style, linewidth=width, label=label)
    axes.set_xticks(range(len(names)), [name.removeprefix("l0") for name in names])
    axes.set(xlabel="layer", ylabel="error on target")
    axes.annotate(f"{compared.most_repeated} samples", (0.98, 0.02), xycoords="axes fraction",
                  ha="right", fontsize=7.5, color=COLOURS["ink"])  # fmt: skip


def _lines(compared: Comparison) -> list[tuple[str, object, object, float, str]]:
    """Model, colour, style, width and label of each line."""
    found: list[tuple[str, object, object, float, str]] = []
    last = max(len(compared.layers) - 1, 1)
    for place, name in enumerate(compared.layers):
        found.append((name, mpl.colormaps["viridis"](0.92 * place / last), "-", 0.9, name))
    for role in ("base", "ceiling", "floor", "control"):
        for place, name in enumerate(compared.others(role)):
            colours = ROLES[role]
            colour, style = colours[place % len(colours)], DASHES[place % len(DASHES)]
            label = name.replace(BASE, "base model", 1) if role == "base" else compared.words[name]
            found.append((name, colour, style, 1.6, label))
    return found
