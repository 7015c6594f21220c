"""Pictures of what flows through the network: activation spectra layer by layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from eddyscope.artefacts.key import ModelKey
from eddyscope.config.arrays import FloatArray
from eddyscope.report.axes import log_limits, wavenumber_axis
from eddyscope.report.results import Absent, Results
from eddyscope.report.style import COLOURS, DIVERGING, Picture, canvas, colour_of, grid_size, words

__all__ = ["drift", "spectra_after", "spectra_before"]

HOME = "base_on_base"
"""The run that the others are compared with."""


@dataclass(frozen=True)
class DrawnRun:
    """A model fed with a system's samples."""

    model: ModelKey
    system: str
    spectra: xr.Dataset
    words: str
    """What is fed with what."""
    colour: str
    """The model's."""


def spectra_before(results: Results) -> Picture:
    """Spectra of what leaves each layer (h)."""
    way = results.case["transfer"]["normalisation"]
    caption = words(
        f"""Every layer turns its input into many fields; these are their mean spectra as they leave
        the layer, before any nonlinearity (h). Dotted: the base model fed with the flow it was
        trained on. Full lines: models fed with the target. Where the base model's full line leaves
        its dotted one, the layer has more or less power at that scale than in training; curves that
        coincide lie one upon another, the later ones thinner. The target's fields are
        normalised alike for all models, as for re-training ({way})."""
    )
    return _spectra(results, "h", "activations_h", "Spectra of what each layer gives", caption)


def spectra_after(results: Results) -> Picture:
    """Spectra of what is made of each layer's fields before the next (g)."""
    caption = words(
        """The same for what the next layer is given (g), after any nonlinearity between the two; of
        the last layer, the network's output. A nonlinearity spreads each wave over others, so power
        appears at wavenumbers that the layer's input did not have; a convolution alone gives power
        to no wavenumber but those of its input."""
    )
    return _spectra(results, "g", "activations_g", "Spectra of what the next layer sees", caption)


def drift(results: Results) -> Picture:
    """Ratio of activation spectra on target to those of the base model on base."""
    runs = _runs(results)
    home = runs.pop(HOME).spectra
    if not runs:
        raise Absent("analysis.h5 has no activations on the target")
    layers, top = list(home["layer"].values), home.sizes["wavenumber"]
    figure, axes = canvas(2, len(runs), 3.9, sharex=True, sharey=True)
    for column, run in enumerate(runs.values()):
        for row, name in enumerate(("h", "g")):
            panel = axes[row, column]
            panel.set_facecolor(COLOURS["no data"])
            image = panel.imshow(
                np.log10(_ratio(run.spectra[name].values, home[name].values)[:, 1:]),
                cmap=DIVERGING,
                vmin=-1.0,
                vmax=1.0,
                aspect="auto",
                extent=(0.5, top - 0.5, len(layers) - 0.5, -0.5),
            )
            panel.grid(False)
            panel.set_yticks(range(len(layers)), layers)
            axes[row, 0].set_ylabel(f"{name}: layer")
        axes[0, column].set_title(run.words, color=run.colour, fontsize=8.5)
        axes[1, column].set_xlabel("wavenumber k")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[-1, 0, 1], extend="both")
    bar.ax.set_yticklabels(["÷ 10 or more", "same", "× 10 or more"])
    caption = words(
        """The last two pictures at a glance: the power in each layer (rows) at each wavenumber
        (columns) on the target, over that of the base model on its own flow. Red: more than the
        network was trained with, blue: less, white: the same; beyond a factor of ten either way the
        colours no longer change. Grey: there are no such waves on either flow. Top: what the layer
        gives, bottom: what the next one is given. Re-training is not meant to make everything
        white, since the target is another flow."""
    )
    alt = "Maps of activation power on target over base, by layer and wavenumber."
    return Picture("drift", "How activations differ on the target", caption, alt, figure)


def _spectra(results: Results, name: str, stem: str, title: str, caption: str) -> Picture:
    runs = _runs(results)
    home = runs[HOME].spectra
    layers, last = list(home["layer"].values), float(home["wavenumber"].values[-1])
    rows, columns = grid_size(len(layers), 4)
    figure, axes = canvas(rows, columns, 0.6 + 1.75 * rows, sharex=True)
    for place, layer in enumerate(layers):
        panel = axes.flat[place]
        widths = np.linspace(2.4, 1.0, len(runs))
        curves = [
            _plot(panel, run, name, place, width)
            for run, width in zip(runs.values(), widths, strict=True)
        ]
        panel.set(title=f"{layer}", yscale="log", ylim=log_limits(curves, 5.0))
        wavenumber_axis(panel, last, "")
    for panel in axes.flat[len(layers) :]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel(f"power of {name}")
    for panel in axes.flat[max(len(layers) - columns, 0) : len(layers)]:
        panel.set_xlabel("wavenumber k")
        panel.tick_params(labelbottom=True)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    alt = f"Spectra of {name} for every layer: base model on base and target, re-trained on target."
    return Picture(stem, title, caption, alt, figure)


def _plot(axes: Axes, run: DrawnRun, name: str, place: int, width: float) -> FloatArray:
    """One layer's curve, from k = 1."""
    curve = np.asarray(run.spectra[name].values[place, 1:])
    style = ":" if run.system == "base" else "-"
    k = run.spectra["wavenumber"].values[1:]
    axes.plot(k, curve, style, color=run.colour, linewidth=width, label=run.words)
    return curve


def _runs(results: Results) -> dict[str, DrawnRun]:
    """Name -> run, the base model on base first. Absent if that is missing."""
    tree = results.tree("analysis")
    known: Mapping[str, Mapping[str, str]] = json.loads(tree.attrs["runs"])
    found = {
        name: _run(results, name, ModelKey.parse(facts["model"]), facts["system"])
        for name, facts in known.items()
    }
    if HOME not in found:
        raise Absent("analysis.h5 has no activations of the base model on base")
    return {HOME: found[HOME], **found}


def _run(results: Results, name: str, model: ModelKey, system: str) -> DrawnRun:
    spectra = results.group("analysis", f"activations/{name}")
    words = f"{results.label(model)}, on {system}"
    return DrawnRun(model, system, spectra, words, colour_of(results, model))


def _ratio(values: FloatArray, reference: FloatArray) -> FloatArray:
    """values / reference; NaN where both are nothing, or a coarse layer has no such shell."""
    tiny = 1e-12 * max(float(np.nanmax(reference, initial=0.0)), 1e-300)
    ratio = np.asarray((values + tiny) / (reference + tiny))
    return np.where((values > tiny) | (reference > tiny), ratio, np.nan)
