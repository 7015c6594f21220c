"""Pictures of what the networks predict: the subgrid term in space, and its spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.report.results import Absent, Results
from eddyscope.report.style import (
    COLOURS,
    Picture,
    canvas,
    log_limits,
    plain_log,
    show_field,
    wavenumber_axis,
    words,
)

__all__ = ["fields", "spectra"]


def fields(results: Results) -> Picture:
    """Subgrid term true and predicted on held-out samples of base and target."""
    rows = {"target": _target_fields(results)}
    home = _base_fields(results)
    if home is not None:
        rows = {"base": home, **rows}
    columns = max(len(panels) for panels in rows.values())
    figure, axes = canvas(len(rows), columns, 0.35 + 2.75 * len(rows))
    for row, (system, panels) in enumerate(rows.items()):
        truth = panels["exact"][1]
        limit = 3.0 * float(np.sqrt(np.mean(truth**2)))
        for column, (title, field) in enumerate(panels.values()):
            colour = _title_colour(column, system)
            image = show_field(axes[row, column], field, limit, title, colour)
            if column:
                axes[row, column].set(ylabel="", yticks=[])
        for panel in axes[row, len(panels) :]:
            panel.set_visible(False)
        figure.colorbar(image, ax=list(axes[row]), shrink=0.85, pad=0.01, label="Π")
    caption = words(
        """The subgrid term Π at one moment of a run that no training has seen: what it is (left)
        and what networks make of it. Panels of a row share one colour scale, so paler means too
        weak. The number over each prediction is its error: the mean squared difference from the
        truth, over the truth's mean square (0 is perfect, 1 as bad as predicting nothing)."""
    )
    alt = "Maps of the exact and the predicted subgrid term, rows by system."
    return Picture("pi", "The subgrid term, true and predicted", caption, alt, figure)


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
        panel.set_ylabel("sum of |Π̂| over a shell")
        panel.set_title(f"on {system}", color=COLOURS[system])
        plain_log(panel)
        panel.set_ylim(log_limits(curves, 3.0))
        panel.legend(loc="lower right")
    caption = words(
        """How the subgrid term is spread over scales (large on the left, small on the right): exact
        (black), and as predicted (dashed), means over all test samples. Left: the base model on its
        own flow. Right: on the target. A curve below the black one means that the network predicts
        too little at that scale; re-training should bring it back up."""
    )
    alt = "Spectra of the exact and predicted subgrid term on base and on target."
    return Picture("pi_spectra", "The subgrid term, scale by scale", caption, alt, figure)


Panels = dict[str, tuple[str, NDArray[Any]]]


def _target_fields(results: Results) -> Panels:
    """Panels of the target: exact, base model, best re-trained model."""
    evaluation = results.file("evaluation")
    found = evaluation.group("examples")
    by_name = dict(zip(found["field"], found["pi"], strict=True))
    truth = by_name["exact"]
    panels: Panels = {"exact": ("target: exact Π", truth)}
    for name, field in by_name.items():
        if name != "exact":
            who = "base model" if name == "base" else f"{name} re-trained"
            panels[name] = (f"{who}, error {_error(field, truth):.2f}", field)
    return panels


def _base_fields(results: Results) -> Panels | None:
    """Panels of the base system, if the analysis has them."""
    try:
        found = results.file("analysis").group("example_on_base")
    except Absent:
        return None
    truth = found["pi_exact"]
    error = _error(found["pi_base"], truth)
    return {
        "exact": ("base: exact Π", truth),
        "base": (f"base model, error {error:.2f}", found["pi_base"]),
    }


def _error(field: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(np.mean((field - truth) ** 2) / np.mean(truth**2))


def _title_colour(column: int, system: str) -> str:
    """Truth in the system's colour, the base model in base's, re-trained ones in theirs."""
    return COLOURS[(system, "base", "transfer")[min(column, 2)]]


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
