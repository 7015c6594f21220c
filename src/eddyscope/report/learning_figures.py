"""Pictures of learning: training curves, and the ranking of layers, measured and predicted."""

from __future__ import annotations

from typing import Any

import numpy as np

from eddyscope.report.axes import plain_log, spread_apart
from eddyscope.report.findings import CONTROLS, Findings, find
from eddyscope.report.results import Absent, Results
from eddyscope.report.style import COLOURS, Picture, canvas, words

__all__ = ["ranking", "training"]


def training(results: Results) -> Picture:
    """Loss against epoch: the base model, and the re-trained ones."""
    base = results.model("base")
    if not base.losses("train"):
        raise Absent("the base model's file has no training curve")
    figure, axes = canvas(1, 2, 3.0)
    first, second = axes[0]
    _curve(first, base.losses("train"), COLOURS["base"], "training samples")
    _curve(first, base.losses("validation"), COLOURS["base"], "validation samples", ":")
    first.set_title("Base model, on base", color=COLOURS["base"])
    first.legend()
    layers = sorted(name for name in results.models if name[:1] == "l")
    for place, name in enumerate(layers):
        shade = _shade(place, len(layers))
        _curve(second, results.models[name].losses("train"), shade, name)
    for name in CONTROLS:
        if name in results.models:
            _curve(second, results.models[name].losses("train"), COLOURS[name], name, (0, (4, 2)))
    second.set_title("Re-training, on a few target samples", color=COLOURS["transfer"])
    second.legend(ncols=1 + len(layers) // 10, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for panel in (first, second):
        panel.set(xlabel="epoch", ylabel="mean squared error of Π / σ²")
        plain_log(panel)
    caption = words(
        """Each epoch is one pass over the training samples; lower is better, and 1 is as bad as
        predicting nothing. Left: the base model learns the base flow. Right: it is re-trained on a
        few samples of the target, one layer at a time (green, from the first layer, dark, to the
        last, light) or as a control (dashed). These are errors on the samples that were learnt
        from; how well each does on flows it has not seen is in the picture above."""
    )
    alt = "Training loss against epoch: base model on the left, re-trained models on the right."
    return Picture("training", "How the networks learnt", caption, alt, figure)


def ranking(results: Results) -> Picture:
    """Measured error of every re-trained layer with the controls, above the predicted ranks."""
    findings = find(results)
    best = findings.best
    count = 1 + len(findings.scores)
    figure, axes = canvas(
        2, 1, 3.6 + 0.3 * count, sharex=True, height_ratios=[10, count], squeeze=False
    )
    bars, ranks = axes[:, 0]
    _error_bars(bars, findings, best)
    _reference_lines(bars, findings)
    _rank_cells(ranks, findings)
    caption = words(
        f"""Each bar is the error that is left on the target when only that layer is re-trained
        ({best}, the best, is filled); l01 is next to the input. Whiskers are the spread over runs
        kept out of training. The lines are the controls: the base model as it is, all layers
        re-trained, training from scratch, and the cheap floors of one scale a channel and one
        number for the whole output. A layer that does no better than such a floor has learnt
        little about the target. Below: the order of the layers as measured, and as each score
        predicted it before any re-training (1 is best)."""
    )
    alt = (
        f"Bars of the error on the target per re-trained layer, least for {best}; lines for the "
        "controls; ranks measured and predicted below."
    )
    return Picture("ranking", "Which layer to re-train", caption, alt, figure)


def _curve(axes: Any, losses: list[float], colour: Any, label: str, style: Any = "-") -> None:
    if len(losses) > 1:  # a single number is no curve: nothing was trained
        axes.plot(np.arange(1, len(losses) + 1), losses, linestyle=style, color=colour, label=label)


def _shade(place: int, count: int) -> tuple[float, float, float]:
    """Greens from dark (first layer) to light (last)."""
    dark, light = np.array([0.0, 0.28, 0.21]), np.array([0.55, 0.86, 0.74])
    t = place / max(count - 1, 1)
    red, green, blue = dark + (light - dark) * t
    return (float(red), float(green), float(blue))


def _error_bars(axes: Any, findings: Findings, best: str) -> None:
    values = [findings.error(name) for name in findings.layers]
    faces = [COLOURS["transfer"] if name == best else "#A8DCCB" for name in findings.layers]
    axes.bar(
        range(len(values)),
        [v.mean for v in values],
        yerr=[v.spread for v in values],
        color=faces,
        edgecolor=COLOURS["transfer"],
        linewidth=0.8,
        width=0.62,
        error_kw={"elinewidth": 0.9, "ecolor": COLOURS["ink"], "capsize": 2.5},
    )
    axes.set(ylabel="error on target (mean square of Π = 1)", xlim=(-0.6, len(values) - 0.4))
    axes.set_ylim(bottom=0.0)
    axes.set_title("Error left after re-training one layer", color=COLOURS["transfer"])
    axes.grid(False, axis="x")
    axes.tick_params(axis="x", length=0)


def _reference_lines(axes: Any, findings: Findings) -> None:
    """The controls as lines across; their names at the right, kept from overlapping."""
    lines = {"base": "base as it is"} | {name: name for name in CONTROLS}
    found = sorted(
        (findings.error(name).mean, name, text)
        for name, text in lines.items()
        if name in findings.target
    )
    top = max(axes.get_ylim()[1], 1.05 * found[-1][0]) if found else axes.get_ylim()[1]
    axes.set_ylim(0.0, top)  # every control is on the panel
    places = spread_apart([value for value, _, _ in found], 0.052 * top)
    for (value, name, text), place in zip(found, places, strict=True):
        axes.axhline(value, color=COLOURS[name], linewidth=1.2, linestyle=(0, (5, 2)), zorder=3)
        axes.annotate(
            f"{text} {value:.3f}",
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(1.03, place),
            textcoords=("axes fraction", "data"),
            color=COLOURS[name],
            fontsize=8,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": COLOURS[name],
                "linewidth": 0.7,
                "relpos": (0.0, 0.5),
                "shrinkA": 1.0,
                "shrinkB": 0.0,
            },
            annotation_clip=False,
        )


def _rank_cells(axes: Any, findings: Findings) -> None:
    """Rows of ranks: measured, then each score; the darker the better."""
    measured = findings.measured
    rows = [("measured", [measured.index(name) + 1 for name in findings.layers])]
    rows += [
        (score.name.replace("_", " "), [score.rank(name) or 0 for name in findings.layers])
        for score in findings.scores
    ]
    table = np.array([ranks for _, ranks in rows], dtype=float)
    shown = np.where(table > 0, table, np.nan)
    axes.imshow(shown, cmap="Greens_r", aspect="auto", vmin=0.0, vmax=len(measured) + 2.0)
    for (row, column), rank in np.ndenumerate(table):
        colour = "white" if 0 < rank <= len(measured) / 3 else COLOURS["ink"]
        text = f"{rank:.0f}" if rank else "–"
        axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colour)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xticks(range(len(findings.layers)), findings.layers)
    axes.set_xlabel("re-trained layer")
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
