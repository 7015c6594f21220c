"""The page of a study: the winners, and pictures that compare; it needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from eddyscope.artefacts.evaluation import ALL, THREE_SCALES
from eddyscope.artefacts.study import Mean
from eddyscope.report.comparison import fixed, percent
from eddyscope.report.figures import Drawn, draw
from eddyscope.report.page import template
from eddyscope.report.study_figures import STUDY_PICTURES
from eddyscope.report.study_results import Comparison, comparisons, spread
from eddyscope.report.tables import Table
from eddyscope.storage.atomic import write_atomically

__all__ = ["winners", "write_page"]


def write_page(
    folder: Path, name: str, means: Sequence[Mean], axes: Sequence[str], missing: int
) -> None:
    """study.html and pictures/*.png. Not collective. Raises CannotWrite.

    missing: cells of which nothing is there yet.
    """
    compared = comparisons(means)
    pictures = [draw(function, compared) for function in STUDY_PICTURES]
    for picture in pictures:
        if isinstance(picture, Drawn):
            write_atomically(folder / "pictures" / f"{picture.name}.png", picture.png)
    text = template("study.html").render(
        name=name, axes=axes, missing=missing, winners=winners(compared), pictures=pictures
    )
    write_atomically(folder / "study.html", text)


def winners(compared: Sequence[Comparison]) -> Table:
    """Of each case and number of samples: the best layer, how sure that is, and against what."""
    rows = [_row(each, samples) for each in compared for samples in each.errors if each.layers]
    header = ("case", "samples", "best layer", "error", "first in", "next", "first layer",
              "last layer", "floor", "below the floor", "all layers", "base model")  # fmt: skip
    notes = (
        "Error: mean squared error over mean square, mean over the target's test members; median "
        "over trainings (seeds), and in brackets the least and the largest.",
        "First in: in how many trainings the best layer has the least error of all single layers. "
        "It is named by the errors shown, so its own is a little flattered.",
        "Next: the layer with the next least median error. Floor: three scales where they were "
        "fitted, else one output scale; below it: the share of its error that the best layer "
        "takes away. Base model: the least of its ways to be normalised.",
    )
    return Table(header, tuple(rows), notes=notes)


def _row(compared: Comparison, samples: int) -> tuple[str, ...]:
    errors, best = compared.errors[samples], compared.best(samples)
    if best is None:
        return (compared.title, str(samples), *[""] * 10)
    won, of = compared.wins(samples)
    middle = {name: spread(each)[0] for name, each in errors.items()}
    layers = sorted((n for n in compared.layers if n in errors), key=lambda n: middle[n])
    floor = _floor(compared, errors)
    base = min((middle[n] for n in compared.others("base") if n in errors), default=math.nan)
    return (
        compared.title,
        str(samples),
        best,
        _in_words(spread(errors[best])),
        f"{won} of {of}",
        f"{layers[1]} {fixed(middle[layers[1]], 3)}" if len(layers) > 1 else "",
        _or_nothing(middle.get(compared.layers[0])),
        _or_nothing(middle.get(compared.layers[-1])),
        f"{floor} {fixed(middle[floor], 3)}" if floor else "",
        f"{percent(1.0 - middle[best] / middle[floor])} %" if floor else "",
        _or_nothing(middle.get(ALL)),
        _or_nothing(base),
    )


def _floor(compared: Comparison, errors: Collection[str]) -> str | None:
    """What a layer is measured against: three scales, else the first floor that was made."""
    return next((n for n in (THREE_SCALES, *compared.others("floor")) if n in errors), None)


def _in_words(values: tuple[float, float, float]) -> str:
    middle, low, high = (fixed(value, 3) for value in values)
    return middle if low == high else f"{middle} ({low} to {high})"


def _or_nothing(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else fixed(value, 3)
