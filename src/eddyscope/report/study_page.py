"""The page of a study: what it found, and pictures that compare; it needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from eddyscope.artefacts.evaluation import THREE_SCALES, Difference, Interval
from eddyscope.artefacts.findings import SCALE, Finding, ModelRow, Shift, findings_of, model_rows
from eddyscope.artefacts.uncertainty import ENOUGH, FEWEST
from eddyscope.report.comparison import (
    fixed,
    in_percent,
    in_words,
    listed,
    paired_in_words,
    percent,
)
from eddyscope.report.figures import Drawn, draw
from eddyscope.report.page import template
from eddyscope.report.study_figures import STUDY_PICTURES
from eddyscope.report.style import words
from eddyscope.report.tables import Table
from eddyscope.storage.atomic import write_atomically

__all__ = ["every_model", "gains", "which_layer", "write_page"]

PLACES = {"base": 0, "layers": 1}
"""Role -> its place in a table of models; the others follow as they come."""


def write_page(
    folder: Path,
    name: str,
    shifts: Sequence[Shift],
    axes: Sequence[str],
    cells: Mapping[str, tuple[int, int]],
) -> None:
    """study.html and pictures/*.png. Not collective. Raises CannotWrite.

    cells: case -> how many of its cells are complete, and of how many.
    """
    pictures = [draw(function, shifts) for function in STUDY_PICTURES]
    for picture in pictures:
        if isinstance(picture, Drawn):
            write_atomically(folder / "pictures" / f"{picture.name}.png", picture.png)
    found = findings_of(shifts)
    text = template("study.html").render(
        name=name,
        axes=axes,
        missing={case: counts for case, counts in cells.items() if counts[0] < counts[1]},
        complete=tuple(map(sum, zip(*cells.values(), strict=True))),
        which=which_layer(found),
        gains=gains(found),
        pictures=pictures,
        models=[(f"{s.title}, {_samples(s)}", every_model(s)) for s in shifts],
    )
    write_atomically(folder / "study.html", text)


def which_layer(found: Sequence[Finding]) -> Table:
    """Of each shift and number of samples: the best layer, how sure that is, and whether it could
    have been chosen beforehand."""
    header = ("shift", "samples", "best layer", "tied with it", "error", "is the best",
              "chosen by held-out error", "regret", "trend with depth", "converged")  # fmt: skip
    rows = tuple(
        (
            f.shift.title,
            str(f.shift.samples),
            f.best,
            ", ".join(f.tied) or "none",
            in_words(f.error),
            "" if f.probability is None else f"{percent(f.probability)} %",
            _choices(f),
            _or_nothing(f.regret),
            in_words(f.depth, 2) if f.depth else "",
            _converged(f),
        )
        for f in found
    )
    notes = (
        words(
            """Error: mean squared error over the mean square of Π, mean over the target's test
            members and over base models (training seeds). The best layer has the least; it is named
            by the same members that judge it, so its own error is a little flattered."""
        ),
        _intervals(found),
        words(
            """Tied: the interval of the paired difference from the best layer, on the same members
            and trainings, includes 0. Is the best: in this share of draws of members and trainings
            it has the least error."""
        ),
        words(
            """Chosen by held-out error: for each base model the layer of the least error on samples
            held out of the few training ones, and in how many trainings; no test member has a part
            in it. Regret: what the layers so chosen leave more than the best layer."""
        ),
        words(
            """Trend with depth: Spearman's correlation of a layer's error with its place, first to
            last: 1 where each leaves more than the one before. Converged: trainings of the best
            layer, and of all layers, that had come to their end, of those where that is known."""
        ),
    )
    return Table(header, rows, notes=notes)


def gains(found: Sequence[Finding]) -> Table:
    """Of each shift and number of samples: what the best layer adds, and what it lacks."""
    header = ("shift", "samples", "best layer", "less than three scales", "less than one scale",
              "less than the base model", "share of the full gain", "all layers: less than it",
              "chosen layer: less than three scales")  # fmt: skip
    rows = tuple(
        (
            f.shift.title,
            str(f.shift.samples),
            f.best,
            *(_share(f.beyond[name]) for name in (THREE_SCALES, SCALE, "untouched")),
            _share(f.contribution),
            _share(f.all_beyond),
            _share(f.chosen_beyond),
        )
        for f in found
    )  # fmt: skip
    notes = (
        words(
            """Less than: the share that the best layer takes away of the error that is left by
            three factors (of each input and the output), by one factor (of the output), and by the
            base model as it is, in that of its ways to be normalised that leaves the least. A layer
            that takes away nothing of what three factors leave brings nothing that these do not; a
            negative share is error added."""
        ),
        words(
            """Share of the full gain: of what re-training all layers gains over the base model,
            normalised alike, the part that the best layer gains alone; more than 100 % where all
            layers do worse. All layers: the share that these take away of what the best layer
            leaves. Last column: for the layer chosen by held-out error, which no test member
            flatters."""
        ),
        _intervals(found),
    )
    return Table(header, rows, notes=notes)


def every_model(shift: Shift) -> Table:
    """All models of one shift at one number of samples."""
    header = ("re-trained", "error", "less three scales", "less the best layer",
              "of three scales' error removed", "share of the full gain", "is the best layer",
              "held-out error", "converged")  # fmt: skip
    found = sorted(model_rows(shift), key=lambda row: PLACES.get(row.model.role, len(PLACES)))
    best = tuple(n for n, row in enumerate(found) if row.model.name == shift.best)
    ties = tuple(n for n, row in enumerate(found) if row.tied and n not in best)
    rows = tuple(_model(row) for row in found)
    return Table(header, rows, best, "the least error of the single layers", ties,
                 "cannot be told from it")  # fmt: skip


def _model(row: ModelRow) -> tuple[str, ...]:
    model = row.model
    held_out = float(model.held_out.mean()) if model.held_out.size else math.nan
    return (
        model.name if model.words == model.name else f"{model.name} ({model.words})",
        in_words(row.error),
        _or_nothing(row.against_three_scales),
        _or_nothing(row.against_best),
        _share(row.beyond_three_scales),
        _share(row.contribution),
        "" if row.probability is None else f"{percent(row.probability)} %",
        fixed(held_out, 3) if math.isfinite(held_out) else "",
        f"{model.converged} of {model.judged}" if model.judged else "",
    )


def _samples(shift: Shift) -> str:
    return f"{shift.samples} sample{'' if shift.samples == 1 else 's'}"


def _choices(found: Finding) -> str:
    times = sum(found.chosen.values())
    return ", ".join(f"{name} ({count} of {times})" for name, count in found.chosen.items())


def _converged(found: Finding) -> str:
    models = found.shift.models
    best, layers = models[found.best], [models[name] for name in found.shift.layers]
    judged = sum(layer.judged for layer in layers)
    if not judged:
        return "not known"
    return f"{best.converged} of {best.judged}; {sum(m.converged for m in layers)} of {judged}"


def _intervals(found: Sequence[Finding]) -> str:
    """What intervals are, of which there are none, and of which they are rough."""
    without = [f"{f.shift.title} ({_samples(f.shift)})" for f in found if not f.error.of]
    resampled = [f for f in found if f.error.of]
    text = words(
        """In brackets: 95 % bootstrap intervals, made by resampling test members and base models
        (of one base model: its re-trainings), each where there are three or more; summary.csv says
        which."""
    )
    none = (
        f"No intervals, and only equal errors are tied, where there are fewer than {FEWEST} of both"
    )
    if not resampled:
        return f"{none}, as everywhere here."
    few = [f"{f.shift.title} ({f.shift.members})" for f in resampled if f.shift.members < ENOUGH]
    rough = f"Of fewer than {ENOUGH} test members they are rough: {listed([*dict.fromkeys(few)])}."
    return " ".join([text, *[f"{none}: {listed(without)}."] * bool(without), *[rough] * bool(few)])


def _share(share: Interval | None) -> str:
    return in_percent(share) if share is not None and math.isfinite(share.mean) else ""


def _or_nothing(difference: Difference | None) -> str:
    return "" if difference is None else paired_in_words(difference)
