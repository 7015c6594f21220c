"""Pictures of what the networks predict: the subgrid term in space, and its spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.report.axes import log_limits, plain_log, show_field, wavenumber_axis
from eddyscope.report.results import Absent, Results
from eddyscope.report.style import COLOURS, Picture, canvas, words

__all__ = ["fields", "spectra"]


def fields(results: Results) -> Picture:
    """Subgrid term true and predicted on held-out samples of base and target."""
    panels = [*_base_fields(results), *_target_fields(results)]
    figure, axes = canvas(1, len(panels), 2.3)
    for place, (title, colour, field) in enumerate(panels):
        image = show_field(axes[0, place], field, 3.0, title, COLOURS[colour])
        axes[0, place].title.set_fontsize(8.5)
        if place:
            axes[0, place].set(ylabel="", yticks=[])
    bar = figure.colorbar(image, ax=list(axes[0]), shrink=0.75, pad=0.01)
    bar.set_label("Π / rms of exact Π")
    caption = words(
        """The subgrid term Π at one moment of a run that no training has seen, as it is (exact) and
        as networks predict it. All panels share one colour scale, in units of the exact field's
        root mean square (rms) on that flow, so paler means too weak. The number over each
        prediction is its error: the mean squared difference from the exact field, over that field's
        mean square (0 is perfect, 1 as bad as predicting nothing)."""
    )
    alt = f"{len(panels)} maps of the exact and the predicted subgrid term on base and on target."
    return Picture("pi", "The subgrid term, exact and predicted", caption, alt, figure)


def spectra(results: Results) -> Picture:
    """Spectrum of the subgrid term, true and predicted, and the ratio of the two."""
    evaluation = results.file("evaluation")
    home, away = evaluation.group("base"), evaluation.group("target")
    best = str(evaluation.attributes.get("best", ""))
    figure, axes = canvas(1, 2, 3.4)
    panels = (("base", home, axes[0, 0]), ("target", away, axes[0, 1]))
    for system, found, panel in panels:
        k = found["wavenumber"]
        truth = found["pi_spectrum_true"]
        curves = [truth.mean(axis=0)]
        panel.plot(k, curves[0], color=COLOURS["truth"], linewidth=2.2, label="exact")
        for name, colour, label in _shown(system, best, list(found["model"])):
            curve = _spectrum_of(found, name)
            curves.append(curve)
            panel.plot(k, curve, "--", color=COLOURS[colour], label=label)
        wavenumber_axis(panel, float(k[-1]))
        panel.set_ylabel(r"sum of $|\hat{\Pi}|$ over a shell")
        panel.set_title(f"on {system}", color=COLOURS[system])
        panel.set_ylim(log_limits(curves, 3.0))
        plain_log(panel)
        panel.legend(loc="lower right")
    caption = words(
        """How the subgrid term is spread over scales (large on the left, small on the right): exact
        (black), and as predicted (dashed), means over all test samples. Left: the base model on its
        own flow. Right: on the target. A curve below the black one means that the network predicts
        too little at that scale; re-training should bring it back up."""
    )
    alt = "Spectra of the exact and predicted subgrid term on base and on target."
    return Picture("pi_spectra", "The subgrid term, scale by scale", caption, alt, figure)


Panel = tuple[str, str, NDArray[Any]]
"""Title, colour's name, field in units of the exact one's rms."""


def _target_fields(results: Results) -> list[Panel]:
    """The target: exact, base model, best re-trained model."""
    found = results.file("evaluation").group("examples")
    by_name = dict(zip(found["field"], found["pi"], strict=True))
    truth = by_name.pop("exact")
    panels = [_panel("target: exact", "target", truth, truth)]
    for name, field in by_name.items():
        who, colour = ("base model", "base") if name == "base" else (str(name), "transfer")
        panels.append(_panel(f"{who}: {_error(field, truth):.2f}", colour, field, truth))
    return panels


def _base_fields(results: Results) -> list[Panel]:
    """The base: exact and base model; none where there is no analysis."""
    try:
        found = results.file("analysis").group("example_on_base")
    except Absent:
        return []
    truth, field = found["pi_exact"], found["pi_base"]
    return [
        _panel("base: exact", "base", truth, truth),
        _panel(f"base model: {_error(field, truth):.2f}", "base", field, truth),
    ]


def _panel(title: str, colour: str, field: NDArray[Any], truth: NDArray[Any]) -> Panel:
    return title, colour, field / float(np.sqrt(np.mean(truth**2)))


def _error(field: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(np.mean((field - truth) ** 2) / np.mean(truth**2))


def _shown(system: str, best: str, models: list[str]) -> list[tuple[str, str, str]]:
    """(model, colour, label) of the curves of a panel."""
    shown = [("base", "base", "base model")]
    if system == "target":
        shown += [(best, "transfer", f"{best} re-trained"), ("all", "all", "all re-trained")]
        shown += [("scale", "scale", "base model × one number")]
    return [entry for entry in shown if _entry(entry[0], models) is not None]


def _entry(name: str, models: list[str]) -> int | None:
    """Place of a model, or of its first repeat."""
    for candidate in (name, f"{name}.seed0"):
        if name and candidate in models:
            return models.index(candidate)
    return None


def _spectrum_of(found: dict[str, Any], name: str) -> NDArray[Any]:
    place = _entry(name, list(found["model"]))
    assert place is not None, f"{name} is not among the models"
    curve: NDArray[Any] = found["pi_spectrum"][place].mean(axis=0)
    return curve
