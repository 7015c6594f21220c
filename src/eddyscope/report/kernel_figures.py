"""Pictures of kernels: which changed, before and after, and what kinds there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from eddyscope.report.results import Absent, Artefact, Results
from eddyscope.report.style import COLOURS, DIVERGING, SEQUENTIAL, Picture, canvas, words

__all__ = ["changes", "kinds", "most_changed"]

SHOWN = 6
"""Kernels in the picture of those that changed most."""

KIND_COLOURS = ("#DDDDDD", "#332288", "#88CCEE", "#DDCC77", "#AA4499", "#999933")
"""silent, low-pass, band-pass, high-pass, Gabor, all-pass: Tol's muted palette, none of ours."""


def most_changed(results: Results) -> Picture:
    """The kernels of the best single-layer model that changed most: weights and spectra."""
    analysis = results.file("analysis")
    best = str(analysis.attributes["best"])
    found = analysis.group(f"most_changed/{best}")
    count = min(SHOWN, len(found["change"]))
    figure, axes = canvas(4, count, 6.0)
    weights = float(max(np.abs(found[f"weights_{w}"][:count]).max() for w in ("before", "after")))
    gains = float(max(found[f"map_{w}"][:count].max() for w in ("before", "after")))
    half = found["kx"][-1] + 1
    for column in range(count):
        panels = axes[:, column]
        for row, when in ((0, "before"), (1, "after")):
            kernels = panels[row].imshow(
                found[f"weights_{when}"][column],
                cmap=DIVERGING,
                vmin=-weights,
                vmax=weights,
                origin="lower",
            )
            spectra = panels[row + 2].imshow(
                found[f"map_{when}"][column],
                cmap=SEQUENTIAL,
                vmin=0.0,
                vmax=gains,
                origin="lower",
                extent=(-half, half, -half, half),
            )
        panels[0].set_title(_name(found, column), fontsize=8.5, fontweight="normal")
        panels[3].set_xlabel("$k_x$")
        for panel in panels:
            panel.grid(False)
            panel.set_xticks([])
            panel.set_yticks([])
        for panel in panels[2:]:
            panel.set_xticks([-half, 0, half], [f"{-half:.0f}", "0", f"{half:.0f}"])
    for row, text in enumerate(
        ("weights before", "weights after", "|T(k)| before", "|T(k)| after")
    ):
        axes[row, 0].set_ylabel(text)
    axes[1, 0].yaxis.label.set_color(COLOURS["transfer"])
    axes[3, 0].yaxis.label.set_color(COLOURS["transfer"])
    figure.colorbar(kernels, ax=axes[:2], shrink=0.7, label="weight")
    figure.colorbar(spectra, ax=axes[2:], shrink=0.7, label="gain |T|")
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


def changes(results: Results) -> Picture:
    """How far each re-training moved each layer, over the null model."""
    found = results.file("analysis").group("changes")
    shown = np.array(["+" not in name for name in found["model"]])  # pairs would fill pages
    spectral, null = found["spectral"][shown], found["null"][shown]
    ratio = np.where(spectral > 0, spectral / null, 0.0)
    models, layers = found["model"][shown], found["layer"]
    figure, axes = canvas(1, 1, 1.2 + 0.26 * len(models))
    panel = axes[0, 0]
    image = panel.imshow(ratio, cmap="Greens", vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), value in np.ndenumerate(ratio):
        if value > 0:
            colour = "white" if value > 0.6 else COLOURS["ink"]
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    panel.set_xticks(range(len(layers)), layers)
    panel.set_yticks(range(len(models)), models)
    panel.set(xlabel="layer", ylabel="re-trained model")
    panel.grid(False)
    panel.tick_params(length=0)
    figure.colorbar(image, ax=panel, label="change / null", shrink=0.9)
    caption = words(
        """How far re-training moved the kernels of each layer, as seen in their spectra (root mean
        square over kernels). The unit is a null model: the median difference between two unrelated
        kernels of the same layer of the base model. Near 0 the kernels are what they were, near 1
        they are as different as if replaced, which is what training from scratch shows. Empty
        cells were not touched; "gain" and "scale" only multiply, so they may move every kernel
        without giving any a new form."""
    )
    alt = "Table of changes of kernels by model and layer, in units of the null model."
    return Picture("changes", "How much re-training moved each layer", caption, alt, figure)


def kinds(results: Results) -> Picture:
    """Kinds of kernels of every layer: base model, and where re-trained."""
    analysis = results.file("analysis")
    layers = analysis.children("kernels/base")
    if not layers:
        raise Absent("analysis.h5 has no kernels of the base model")
    before = np.array([_shares(analysis, "base", layer) for layer in layers])
    figure, axes = canvas(1, 2, 3.0, sharey=True)
    after = np.array([_shares(analysis, layer, layer) for layer in layers])
    for panel, shares, title, colour in (
        (axes[0, 0], before, "Base model", COLOURS["base"]),
        (axes[0, 1], after, "Each layer re-trained alone", COLOURS["transfer"]),
    ):
        _stack(panel, shares, layers)
        panel.set_title(title, color=colour)
    axes[0, 0].set_ylabel("share of kernels, %")
    axes[0, 1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption = words(
        """What the kernels of each layer do to waves: low-pass kernels keep long ones, high-pass
        short ones, band-pass those around one scale, Gabor those of one scale and direction;
        all-pass kernels favour none. Left: the base model. Right: the same layers, each after it
        was re-trained alone on the target. A 5 × 5 kernel is small, so these classes are coarse:
        random kernels come out as about half band-pass and half high-pass."""
    )
    alt = "Stacked bars of the kinds of kernels by layer, base model and re-trained layers."
    return Picture("kinds", "What kinds of filters the layers hold", caption, alt, figure)


def _name(found: dict[str, Any], place: int) -> str:
    layer, out, inp = (found[key][place] for key in ("layer", "output", "input"))
    return f"{layer}, {inp} → {out}\nchange {found['change'][place]:.2f}"


def _shares(analysis: Artefact, model: str, layer: str) -> list[float]:
    """Percentages of each kind; zeros if that model was not made."""
    if layer not in analysis.children(f"kernels/{model}"):
        return [0.0] * len(KIND_COLOURS)
    kind = analysis.group(f"kernels/{model}/{layer}")["kind"]
    counts = np.bincount(kind.ravel(), minlength=len(KIND_COLOURS))
    return [float(share) for share in 100.0 * counts / kind.size]


def _stack(axes: Any, shares: Any, layers: list[str]) -> None:
    names = ("silent", "low-pass", "band-pass", "high-pass", "Gabor", "all-pass")
    bottom = np.zeros(len(layers))
    for column, (name, colour) in enumerate(zip(names, KIND_COLOURS, strict=True)):
        if shares[:, column].any():
            axes.bar(layers, shares[:, column], 0.7, bottom, color=colour, label=name)
        bottom += shares[:, column]
    axes.grid(False, axis="x")
    axes.set(xlabel="layer", ylim=(0, 100))
