"""Pictures of what the networks predict: the subgrid term in space, and its spectrum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from eddyscope.artefacts.key import BASE, ModelKey
from eddyscope.config.arrays import FloatArray
from eddyscope.report.axes import log_limits, plain_log, show_field, wavenumber_axis
from eddyscope.report.results import SYSTEMS, Absent, Results
from eddyscope.report.style import COLOURS, Picture, canvas, colour_of, words

__all__ = ["fields", "spectra"]


def fields(results: Results) -> Picture:
    """Subgrid term true and predicted on held-out samples of base and target."""
    panels = [*_base_fields(results), *_target_fields(results)]
    figure, axes = canvas(1, len(panels), 2.3)
    for place, (title, colour, field) in enumerate(panels):
        image = show_field(axes[0, place], field, 3.0, title, colour)
        axes[0, place].title.set_fontsize(8.5)
        if place:
            axes[0, place].set(ylabel="", yticks=[])
    bar = figure.colorbar(image, ax=list(axes[0]), extend="both", shrink=0.75, pad=0.01)
    bar.set_label("Π / rms of exact Π")
    caption = words(
        """The subgrid term Π at one moment of a run that no training has seen, as it is (exact) and
        as networks predict it. All panels share one colour scale, in units of the exact field's
        root mean square (rms) on that flow, so paler means too weak; colours end at three times
        the rms either way. The number over each
        prediction is its error: the mean squared difference from the exact field, over that field's
        mean square (0 is perfect, 1 as bad as predicting nothing). Of flows of several layers, the
        first is shown."""
    )
    alt = f"{len(panels)} maps of the exact and the predicted subgrid term on base and on target."
    return Picture("pi", "The subgrid term, exact and predicted", caption, alt, figure)


def spectra(results: Results) -> Picture:
    """Spectrum of the subgrid term, true and predicted, on base and on target."""
    best = results.tree("evaluation").attrs.get("best", "")
    figure, axes = canvas(1, 2, 3.7)
    for system, panel in zip(SYSTEMS, axes[0], strict=True):
        _spectra_on(panel, system, results, best)
    entries = {line.get_label(): line for panel in axes[0] for line in panel.lines}
    figure.legend([*entries.values()], [*entries], loc="outside lower center", ncols=5)
    caption = words(
        """How the subgrid term is spread over scales (large on the left, small on the right): exact
        (black), and as predicted (dashed), means over all test samples. Left: the base model on its
        own flow. Right: on the target. A curve below the black one means that the network predicts
        too little at that scale; that the curves agree does not mean that the fields do. Shells go
        to the last whole one: modes in the corners beyond are left out."""
    )
    alt = "Spectra of the exact and predicted subgrid term on base and on target."
    return Picture("pi_spectra", "The subgrid term, scale by scale", caption, alt, figure)


def _spectra_on(panel: Axes, system: str, results: Results, best: str) -> None:
    """The panel of one system."""
    found = results.group("evaluation", system)
    if "pi_spectrum_true" not in found:
        raise Absent(f"the {system}'s fields are not periodic or not square: no spectra by shells")
    k = found["wavenumber"].values
    curves = [_mean(found["pi_spectrum_true"])]
    panel.plot(k, curves[0], color=COLOURS["truth"], linewidth=2.2, label="exact")
    for key in _shown(system, best, results):
        curves.append(_mean(found["pi_spectrum"].sel(model=str(key))))
        panel.plot(k, curves[-1], "--", color=colour_of(results, key), label=results.label(key))
    wavenumber_axis(panel, float(k[-1]))
    panel.set_ylabel(r"sum of $|\hat{\Pi}|$ over a shell")
    panel.set_title(f"on {system}", color=COLOURS[system])
    panel.set_ylim(log_limits(curves, 3.0))
    plain_log(panel)


def _shown(system: str, best: str, results: Results) -> Iterator[ModelKey]:
    """Models of a panel that are there: the base; on the target, also the best, and what frames
    it."""
    names = [BASE]
    if system == "target":
        frames = ("ceiling", "floor")
        names += [best, *(n for n, told in results.adapted.items() if told.role in frames)]
    for name in names:
        if name and name in results.group("evaluation", system)["model"].values:
            yield ModelKey.parse(name)


def _mean(spectra: xr.DataArray) -> FloatArray:
    """Mean over everything but the wavenumber."""
    others = [dim for dim in spectra.dims if dim != "wavenumber"]
    return np.asarray(spectra.mean(others).values)


Panel = tuple[str, str, FloatArray]
"""Title, colour, field in units of the exact one's rms."""


def _target_fields(results: Results) -> list[Panel]:
    """The target: exact, base model, best re-trained model."""
    found = results.group("evaluation", "examples")["pi"]
    truth = first_layer(found.sel(field="exact"))
    panels = [_panel("target: exact", COLOURS["target"], truth, truth)]
    for name in map(str, found["field"].values):
        if name != "exact":
            key, field = ModelKey.parse(name), first_layer(found.sel(field=name))
            title = f"{results.label(key)}: {_error(field, truth):.2f}"
            panels.append(_panel(title, colour_of(results, key), field, truth))
    return panels


def _base_fields(results: Results) -> list[Panel]:
    """The base: exact and base model; none where there is no analysis."""
    try:
        found = results.group("analysis", "example_on_base")
    except Absent:
        return []
    truth, field = first_layer(found["pi_exact"]), first_layer(found["pi_base"])
    return [
        _panel("base: exact", COLOURS["base"], truth, truth),
        _panel(f"base model: {_error(field, truth):.2f}", COLOURS["base"], field, truth),
    ]


def first_layer(field: xr.DataArray) -> FloatArray:
    """A field (y, x): that of the first layer where there are several."""
    return np.asarray(field.isel(layer=0).values if "layer" in field.dims else field.values)


def _panel(title: str, colour: str, field: FloatArray, truth: FloatArray) -> Panel:
    rms = float(np.sqrt(np.mean(truth**2)))
    return title, colour, field / rms if rms > 0 else field


def _error(field: FloatArray, truth: FloatArray) -> float:
    square = float(np.mean(truth**2))
    return float(np.mean((field - truth) ** 2)) / square if square > 0 else float("nan")
