"""Pictures of learning: training curves, and the ranking of layers, measured and predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from eddyscope.artefacts.key import BASE, ModelKey
from eddyscope.config.arrays import FloatArray
from eddyscope.report.axes import plain_log, spread_apart
from eddyscope.report.comparison import Comparison, compare, listed
from eddyscope.report.results import Absent, Results
from eddyscope.report.style import COLOURS, Picture, Style, canvas, colour_of, words

__all__ = ["ranking", "training"]

CURVES = 24
"""Curves of re-training that one panel holds; the others are left out, and the caption says so."""
LINES = 14
"""Lines across that the ranking holds, besides the base model's; likewise."""


def training(results: Results) -> Picture:
    """Loss against epoch: the base model, and the re-trained ones."""
    base = results.model(ModelKey())
    if not base.losses("train"):
        raise Absent("the base model's file has no training curve")
    figure, axes = canvas(1, 2, 3.0)
    first, second = axes[0]
    _curve(first, base.losses("train"), COLOURS["base"], "training samples")
    _curve(first, base.losses("validation"), COLOURS["base"], "validation samples", ":")
    first.set_title("Base model, on base", color=COLOURS["base"])
    if first.get_legend_handles_labels()[0]:  # there are none of a single epoch
        first.legend()
    keys = [
        key for key in results.models if not key.is_base and key.seed is None and key.recipe is None
    ]
    singles = sorted((key for key in keys if key.is_single_layer), key=str)
    others = sorted((key for key in keys if not key.is_single_layer), key=str)
    for place, key in enumerate(singles[:CURVES]):
        _curve(second, results.models[key].losses("train"), _shade(place, len(singles)), str(key))
    for key in others[: max(CURVES - len(singles), 0)]:
        told, losses = results.told(key), results.models[key].losses("train")
        style: Style = (0, (1, 1)) if told.role == "layers" else (0, (4, 2))
        _curve(second, losses, colour_of(results, key), told.words, style)
    second.set_title("Re-training, on a few target samples", color=COLOURS["layers"])
    if second.lines:
        columns = 1 + len(second.lines) // 12
        second.legend(ncols=columns, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for panel in (first, second):
        panel.set(xlabel="epoch", ylabel="mean squared error of Π / σ²")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain_log(panel)
    left_out = max(len(keys) - CURVES, 0)
    caption = words(
        f"""Each epoch is one pass over the training samples; lower is better, and 1 is as bad as
        predicting nothing. Left: the base model learns the base flow. Right: it is re-trained on a
        few samples of the target: one layer at a time (full lines, from the first layer, dark, to
        the last, light), several named layers together (dotted), or otherwise (dashed). These are
        errors on the samples that were learnt from, but for those on validation samples (dotted on
        the left, where there are any); how well each does on flows it has not seen is in the
        picture above. Where learning had not come to its end, that is said under “What this case
        cannot show”. {_left_out(left_out)}"""
    )
    alt = "Training loss against epoch: base model on the left, re-trained models on the right."
    return Picture("training", "How the networks learnt", caption, alt, figure)


def ranking(results: Results) -> Picture:
    """Measured error of every re-trained layer with the controls, above the predicted ranks."""
    compared = compare(results)
    best = compared.best
    count = 1 + len(compared.predictions)
    figure, axes = canvas(
        2, 1, 3.6 + 0.3 * count, sharex=True, height_ratios=[10, count], squeeze=False
    )
    bars, ranks = axes[:, 0]
    _error_bars(bars, compared)
    left_out = _reference_lines(bars, compared, results)
    _rank_cells(ranks, compared)
    whiskers = (
        f"Whiskers are 95 % intervals, made by resampling {compared.resampled}; what is hard in a "
        "run is hard for every layer, so layers whose whiskers overlap may still differ."
        if compared.resampled
        else f"There are no whiskers, since {compared.no_interval} for intervals."
    )
    tied = f"{listed(compared.ties)}, hatched, cannot be told from it; " if compared.ties else ""
    filled = "" if compared.all_alike else f"{best}, the best, is filled; {tied}"
    caption = words(
        f"""Each bar is the error that is left on the target when only that layer is re-trained
        ({filled}l01 is the first that a forward pass meets). {whiskers} The lines are what
        they are compared with: the base model, not re-trained, as its file holds it (dashed) and
        normalised as the re-trained ones are (dotted); and whatever else was re-trained.
        {_left_out(left_out)} Below: the order of the layers as measured{_mean_ranks(compared)}, and
        as each score predicted it before any re-training (1 is best; equal ones share their rank; a
        score that tells no layer from another has none)."""
    )
    alt = (
        f"Bars of the error on the target per re-trained layer, the best being {best}; lines for "
        "the controls; ranks measured and predicted below."
    )
    return Picture("ranking", "Which layer to re-train", caption, alt, figure)


def _mean_ranks(compared: Comparison) -> str:
    return " (mean rank over draws)" if compared.ranks else ""


def _left_out(count: int) -> str:
    return f"{count} more models are left out." if count else ""


def _curve(
    axes: Axes, losses: Sequence[float], colour: object, label: str, style: Style = "-"
) -> None:
    if len(losses) > 1:  # a single number is no curve: nothing was trained
        axes.plot(np.arange(1, len(losses) + 1), losses, linestyle=style, color=colour, label=label)


def _shade(place: int, count: int) -> tuple[float, float, float]:
    """From dark violet (first layer) through green to yellow (last); of several hues, so that
    neighbours can be told apart."""
    red, green, blue, _ = mpl.colormaps["viridis"](0.92 * place / max(count - 1, 1))
    return (float(red), float(green), float(blue))


def _error_bars(axes: Axes, compared: Comparison) -> None:
    intervals = [compared.error(name) for name in compared.layers]
    means = np.array([interval.mean for interval in intervals])
    strong = [name == compared.best and not compared.all_alike for name in compared.layers]
    bars = axes.bar(
        range(len(means)),
        means,
        yerr=_whiskers(compared),
        color=[COLOURS["layers"] if it_is else COLOURS["pale layers"] for it_is in strong],
        edgecolor=COLOURS["layers"],
        linewidth=0.8,
        width=0.62,
        error_kw={"elinewidth": 0.9, "ecolor": COLOURS["ink"], "capsize": 2.5},
    )
    for bar, name in zip(bars, compared.layers, strict=True):
        if name in compared.ties and not compared.all_alike:
            bar.set_hatch("////")
    axes.set(ylabel="error on target (mean square of Π = 1)", xlim=(-0.6, len(means) - 0.4))
    axes.set_ylim(bottom=0.0)
    axes.set_title("Error left after re-training one layer", color=COLOURS["layers"])
    axes.grid(False, axis="x")
    axes.tick_params(axis="x", length=0)


def _whiskers(compared: Comparison) -> FloatArray | None:
    """Lengths below and above the means, (2, layer); None where there are no intervals."""
    lengths = []
    for name in compared.layers:
        interval = compared.error(name)
        if interval.low is None or interval.high is None:
            lengths.append((0.0, 0.0))
        else:
            lengths.append((interval.mean - interval.low, interval.high - interval.mean))
    if not compared.resampled:
        return None
    # The mean of equal numbers may be off by rounding, and a negative length is an error.
    return np.asarray(np.maximum(np.array(lengths).T, 0.0))


def _references(compared: Comparison, results: Results) -> Iterator[tuple[float, str, str, Style]]:
    """What single layers are compared with: error, words, colour, line."""
    dashed: Style = (0, (5, 2))
    base = colour_of(results, ModelKey())
    if BASE in compared.target:
        yield compared.error(BASE).mean, "base model", base, dashed
    if compared.way in compared.otherwise:
        yield compared.otherwise[compared.way].mean, f"base model, {compared.way}", base, ":"
    for name in compared.others()[:LINES]:
        colour = colour_of(results, ModelKey.parse(name))
        yield compared.error(name).mean, compared.adapted[name].words, colour, dashed


def _reference_lines(axes: Axes, compared: Comparison, results: Results) -> int:
    """What single layers are compared with as lines across; names at the right, kept from
    overlapping. Gives how many are left out."""
    lines = (line for line in _references(compared, results) if np.isfinite(line[0]))
    found = sorted(lines, key=lambda line: line[0])
    top = max(axes.get_ylim()[1], 1.05 * found[-1][0]) if found else axes.get_ylim()[1]
    axes.set_ylim(0.0, top)  # every line is on the panel
    places = spread_apart([value for value, *_ in found], 0.052 * top)
    for (value, text, colour, style), place in zip(found, places, strict=True):
        axes.axhline(value, color=colour, linewidth=1.2, linestyle=style, zorder=3)
        axes.annotate(
            f"{text} {value:.3f}",
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(1.03, place),
            textcoords=("axes fraction", "data"),
            color=colour,
            fontsize=8,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "relpos": (0.0, 0.5),
                "shrinkA": 1.0,
                "shrinkB": 0.0,
            },
            annotation_clip=False,
        )
    return max(len(compared.others()) - LINES, 0)


def _rank_cells(axes: Axes, compared: Comparison) -> None:
    """Rows of ranks: measured, then each score; the darker the better."""
    layers = compared.layers
    rows: dict[str, list[float | None]] = {
        "measured": [None if compared.all_alike else _rank(compared, name) for name in layers]
    }
    for prediction in compared.predictions:
        rows[prediction.words] = [prediction.rank(name) for name in layers]
    table = np.array([[rank or 0 for rank in ranks] for ranks in rows.values()], dtype=float)
    shown = np.where(table > 0, table, np.nan)
    axes.imshow(shown, cmap="Greens_r", aspect="auto", vmin=0.0, vmax=len(layers) + 2.0)
    for (row, column), rank in np.ndenumerate(table):
        colour = "white" if 0 < rank <= len(layers) / 2 else COLOURS["ink"]
        text = f"{rank:.1f}".removesuffix(".0") if rank else "–"
        axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colour)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xticks(range(len(layers)), layers)
    axes.set_xlabel("re-trained layer")
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _rank(compared: Comparison, layer: str) -> float:
    """A layer's mean rank over draws; its place by error where there are none."""
    return compared.ranks[layer].expected if layer in compared.ranks else compared.rank(layer)
