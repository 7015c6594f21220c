"""Pictures of kernels: which changed, before and after, and what kinds there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from eddyscope.artefacts.key import ModelKey
from eddyscope.config.arrays import FloatArray
from eddyscope.report.results import Absent, Results
from eddyscope.report.style import COLOURS, DIVERGING, SEQUENTIAL, Picture, canvas, words

__all__ = ["changes", "kinds", "most_changed"]

SHOWN = 6
"""Kernels in the picture of those that changed most."""

ROWS = 30
"""Models in the table of changes; more would fill pages."""

KIND_COLOURS = ("#DDDDDD", "#332288", "#88CCEE", "#DDCC77", "#AA4499", "#999933")
"""Of the kinds of kernels, in the order of the analysis: Tol's muted palette, none of ours."""


def most_changed(results: Results) -> Picture:
    """The kernels of the best single-layer model that changed most: weights and spectra."""
    best = str(results.tree("analysis").attrs["best"])
    if not best:
        raise Absent("no single layer was re-trained")
    found = results.group("analysis", f"most_changed/{best}")
    count = min(SHOWN, found.sizes["rank"])
    figure, axes = canvas(4, count, 6.0)
    for rows, name, cmap, low, text in (
        (axes[:2], "weights", DIVERGING, -1.0, "weight"),
        (axes[2:], "map", SEQUENTIAL, 0.0, "amplification |T|"),
    ):
        _before_and_after(rows, found, name, cmap, low)
        figure.colorbar(rows[0, 0].images[0], ax=rows, shrink=0.7, label=text)
    for column in range(count):
        axes[0, column].set_title(_title(found, column), fontsize=8.5, fontweight="normal")
        axes[3, column].set_xlabel("$k_x$")
    for row, text in enumerate(
        ("weights before", "weights after", "|T(k)| before", "|T(k)| after")
    ):
        colour = COLOURS["layers"] if row % 2 else COLOURS["ink"]
        axes[row, 0].set_ylabel(text, color=colour)
    caption = words(
        f"""The {count} kernels (small stencils that a layer slides over its input) which
        re-training {best} changed most, the most changed on the left. Top two rows: their weights
        before and after. Bottom two: by how much each amplifies the waves of wavenumber
        (k_x, k_y); the middle is k = 0, long waves, and the edges are the shortest waves the grid
        holds. Bright in the middle means a kernel smooths (low-pass), bright at the edges that it
        sharpens (high-pass), a bright ring or two spots that it picks out one scale (band-pass) or
        one direction (Gabor). The number above each is its change over that between two unrelated
        kernels of the layer: 1 is as different as another kernel altogether."""
    )
    alt = f"Weights and Fourier spectra of the {count} most changed kernels, before and after."
    return Picture("kernels", f"Kernels that changed most ({best})", caption, alt, figure)


def _before_and_after(
    axes: np.ndarray, found: xr.Dataset, name: str, cmap: str, low: float
) -> None:
    """Two rows of panels: a quantity of every kernel before and after, on one scale of colours.

    low: the scale's lower end in units of the largest modulus.
    """
    count = axes.shape[1]
    both = [found[f"{name}_{when}"].values[:count] for when in ("before", "after")]
    largest = float(max(np.nanmax(np.abs(values)) for values in both))
    half = float(found["kx"].values[-1]) + 1.0
    for row, values in zip(axes, both, strict=True):
        for panel, picture in zip(row, values, strict=True):
            extent = (-half, half, -half, half) if name == "map" else None
            panel.imshow(
                picture, cmap=cmap, vmin=low * largest, vmax=largest, origin="lower", extent=extent
            )
            panel.grid(False)
            panel.set_xticks([])
            panel.set_yticks([])
            if extent:
                panel.set_xticks([-half, 0, half], [f"{-half:.0f}", "0", f"{half:.0f}"])


def changes(results: Results) -> Picture:
    """How far each re-training moved each layer, over the null model."""
    found = results.group("analysis", "changes")
    names = [str(name) for name in found["model"].values]
    shown = [i for i, name in enumerate(names) if _is_shown(ModelKey.parse(name))][:ROWS]
    spectral, null = found["spectral"].values[shown], found["null"].values[shown]
    touched = (spectral > 0) & (null > 0)
    ratio = np.divide(spectral, null, out=np.full_like(spectral, np.nan), where=touched)
    layers = list(found["layer"].values)
    figure, axes = canvas(1, 1, 1.2 + 0.26 * len(shown))
    panel = axes[0, 0]
    image = panel.imshow(ratio, cmap="Greens", vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), value in np.ndenumerate(ratio):
        if value > 0:
            colour = "white" if value > 0.6 else COLOURS["ink"]
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    panel.set_xticks(range(len(layers)), layers)
    panel.set_yticks(range(len(shown)), [names[i] for i in shown])
    panel.set(xlabel="layer", ylabel="re-trained model")
    panel.grid(False)
    panel.tick_params(length=0)
    figure.colorbar(image, ax=panel, label="change / null", shrink=0.9, extend="max")
    caption = words(
        """How far re-training moved the kernels of each layer, as seen in their spectra (root mean
        square over kernels). The unit is a null model: the median difference between two unrelated
        kernels of the same layer of the base model. Near 0 the kernels are what they were, near 1
        they are as different as if replaced, and more is possible: beyond 1 the colour no longer
        changes, but the number does. Empty cells were not touched;
        adaptations that only multiply may move every kernel without giving any a new
        form. Models that re-train several named layers together are left out."""
    )
    alt = "Table of changes of kernels by model and layer, in units of the null model."
    return Picture("changes", "How much re-training moved each layer", caption, alt, figure)


def kinds(results: Results) -> Picture:
    """Kinds of kernels of every layer: base model, and where re-trained."""
    layers = _children(results, "kernels/base")
    if not layers:
        raise Absent("analysis.h5 has no kernels of the base model")
    names = _kind_names(results.group("analysis", f"kernels/base/{layers[0]}"))
    before = np.array([_shares(results, "kernels/base", layer, len(names)) for layer in layers])
    after = np.array([_shares(results, f"kernels/{layer}", layer, len(names)) for layer in layers])
    null = np.array([_shares(results, "random", layer, len(names)) for layer in layers])
    figure, axes = canvas(1, 3, 3.0, sharey=True)
    for panel, shares, title, colour in (
        (axes[0, 0], null, "Random weights", COLOURS["ink"]),
        (axes[0, 1], before, "Base model", COLOURS["base"]),
        (axes[0, 2], after, "Re-trained alone", COLOURS["layers"]),
    ):
        _stack(panel, shares, layers, names)
        panel.set_title(title, color=colour)
    axes[0, 0].set_ylabel("share of kernels, %")
    entries = {text: bar for panel in axes[0] for bar, text in zip(*_legend(panel), strict=True)}
    figure.legend(list(entries.values()), list(entries), loc="outside right center")
    caption = words(
        """What the kernels of each layer do to waves: low-pass kernels keep long ones, high-pass
        short ones, band-pass those around one scale, Gabor those of one scale and direction;
        all-pass kernels favour none. Left: a network of the same size with random weights, drawn
        as those that training begins with: kernels are small, so these classes are coarse, and only
        what differs from here was learnt. Middle: the base model. Right: the same layers, each
        after it was re-trained alone on the target; a layer that was not has no bar."""
    )
    alt = "Stacked bars of the kinds of kernels by layer: random weights, base model, re-trained."
    return Picture("kinds", "What kinds of filters the layers hold", caption, alt, figure)


def _is_shown(key: ModelKey) -> bool:
    """Whether a model has a row in the table of changes."""
    return key.is_single_layer or len(key.layers) < 2


def _title(found: xr.Dataset, place: int) -> str:
    layer, out, inp = (found[name].values[place] for name in ("layer", "output", "input"))
    return f"{layer}, {inp} → {out}\nchange {found['change'].values[place]:.2f}"


def _children(results: Results, group: str) -> list[str]:
    """Names of the groups directly inside a group of the analysis."""
    try:
        return [str(name) for name in results.tree("analysis")[group].children]
    except KeyError:
        return []


def _kind_names(kernels: xr.Dataset) -> list[str]:
    """What the kinds of kernels are called, in the order of their numbers."""
    return str(kernels["kind"].attrs["flag_meanings"]).split()


def _shares(results: Results, group: str, layer: str, kinds: int) -> list[float]:
    """Percentages of each kind; zeros if that model was not made."""
    if layer not in _children(results, group):
        return [0.0] * kinds
    kind = results.group("analysis", f"{group}/{layer}")["kind"].values
    counts = np.bincount(kind.ravel(), minlength=kinds)
    return [float(share) for share in 100.0 * counts / kind.size]


def _legend(axes: Axes) -> tuple[list[Artist], list[str]]:
    """Handles and texts of a panel's legend."""
    handles, texts = axes.get_legend_handles_labels()
    return list(handles), list(texts)


def _stack(axes: Axes, shares: FloatArray, layers: Sequence[str], names: Sequence[str]) -> None:
    bottom = np.zeros(len(layers))
    for column, (name, colour) in enumerate(zip(names, KIND_COLOURS, strict=True)):
        if shares[:, column].any():
            axes.bar(layers, shares[:, column], 0.7, bottom, color=colour, label=name)
        bottom += shares[:, column]
    axes.grid(False, axis="x")
    axes.set(xlabel="layer", ylim=(0, 100))
