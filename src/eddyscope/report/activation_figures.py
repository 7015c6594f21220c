"""Pictures of what flows through the network: activation spectra layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.report.axes import log_limits, wavenumber_axis
from eddyscope.report.results import Absent, Artefact, Results
from eddyscope.report.style import COLOURS, DIVERGING, Picture, canvas, grid_size, words

__all__ = ["drift", "spectra_after", "spectra_before"]

RUNS = {
    "base_on_base": ("base", "base model on base"),
    "base_on_target": ("target", "base model on target"),
    "best_on_target": ("transfer", "{best} re-trained, on target"),
    "all_on_target": ("all", "all layers re-trained, on target"),
}
"""Group of analysis.h5 -> (colour, words)."""


def spectra_before(results: Results) -> Picture:
    """Spectra before each ReLU (h)."""
    caption = words(
        """Every layer turns its input into many fields; these are their mean spectra before the
        nonlinearity (h). Blue: the base model fed with the flow it was trained on. Orange: the same
        model fed with the target. Where orange leaves blue, the layer sees or makes waves that it
        was not trained for. Green and purple: after re-training, on the target. Inputs are
        normalised by each system's own standard deviations, so these are differences of shape."""
    )
    return _spectra(results, "h", "activations_h", "Spectra before each nonlinearity", caption)


def spectra_after(results: Results) -> Picture:
    """Spectra after each ReLU (g)."""
    caption = words(
        """The same after the nonlinearity (g), which sets negative values to zero. That spreads
        each wave over all others, so power appears at wavenumbers that the layer's input did not
        have; no linear layer could do that. The last layer has no nonlinearity."""
    )
    return _spectra(results, "g", "activations_g", "Spectra after each nonlinearity", caption)


def drift(results: Results) -> Picture:
    """Ratio of activation spectra on target to those of the base model on base."""
    analysis = results.file("analysis")
    home = analysis.group("activations/base_on_base")
    others = [run for run in _runs(analysis) if run != "base_on_base"]
    figure, axes = canvas(2, len(others), 3.9, sharex=True, sharey=True)
    top = home["wavenumber"].size
    for column, run in enumerate(others):
        found = analysis.group(f"activations/{run}")
        for row, name in enumerate(("h", "g")):
            panel = axes[row, column]
            image = panel.imshow(
                np.log10(_ratio(found[name], home[name])[:, 1:]),
                cmap=DIVERGING,
                vmin=-1.0,
                vmax=1.0,
                aspect="auto",
                extent=(0.5, top - 0.5, len(home["layer"]) - 0.5, -0.5),
            )
            panel.grid(False)
            panel.set_yticks(range(len(home["layer"])), home["layer"])
            axes[row, 0].set_ylabel(f"{name}: layer")
        axes[0, column].set_title(_label(analysis, run), color=COLOURS[RUNS[run][0]], fontsize=8.5)
        axes[1, column].set_xlabel("wavenumber k")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["÷ 10", "same", "× 10"])
    caption = words(
        """The last two pictures at a glance: the power in each layer (rows) at each wavenumber
        (columns) on the target, over that of the base model on its own flow. Red: more than the
        network was trained with, blue: less, white: the same; top before the nonlinearity, bottom
        after it. Re-training is not meant to make everything white, since the target is another
        flow, but the first layer where colours set in tells where the mismatch enters."""
    )
    alt = "Maps of activation power on target over base, by layer and wavenumber."
    return Picture("drift", "Where the mismatch enters the network", caption, alt, figure)


def _spectra(results: Results, name: str, stem: str, title: str, caption: str) -> Picture:
    analysis = results.file("analysis")
    runs = {run: analysis.group(f"activations/{run}") for run in _runs(analysis)}
    layers = runs["base_on_base"]["layer"]
    rows, columns = grid_size(len(layers), 4)
    figure, axes = canvas(rows, columns, 0.6 + 1.75 * rows, sharex=True)
    for place, layer in enumerate(layers):
        panel = axes.flat[place]
        curves = [_plot(panel, runs[run], name, place, analysis, run) for run in runs]
        panel.set(title=f"{layer}", yscale="log", ylim=log_limits(curves, 5.0))
        wavenumber_axis(panel, runs["base_on_base"]["wavenumber"][-1], "")
    for panel in axes.flat[len(layers) :]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel(f"power of {name}")
    for panel in axes[-1]:
        panel.set_xlabel("wavenumber k")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    alt = f"Spectra of {name} for every layer: base model on base and target, re-trained on target."
    return Picture(stem, title, caption, alt, figure)


def _plot(
    axes: Any, found: dict[str, Any], name: str, place: int, analysis: Artefact, run: str
) -> NDArray[Any]:
    curve: NDArray[Any] = found[name][place, 1:]
    style = "-" if run.startswith("base") else "--"
    colour = COLOURS[RUNS[run][0]]
    axes.plot(
        found["wavenumber"][1:],
        curve,
        style,
        color=colour,
        linewidth=1.3,
        label=_label(analysis, run),
    )
    return curve


def _runs(analysis: Artefact) -> list[str]:
    found = [run for run in RUNS if run in analysis.children("activations")]
    if "base_on_base" not in found:
        raise Absent("analysis.h5 has no activations of the base model on base")
    return found


def _label(analysis: Artefact, run: str) -> str:
    return RUNS[run][1].format(best=analysis.attributes["best"])


def _ratio(values: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    """values / reference, 1 where both are nothing."""
    tiny = 1e-12 * reference.max()
    ratio: NDArray[Any] = (values + tiny) / (reference + tiny)
    return ratio
