"""The evaluation: how well every model did on both systems' test members.

Three files with one content, written together by `write_evaluation`:

evaluation.csv
    The tidy table: one row a model × system × metric × test member, columns as in `Row`.
evaluation.h5
    table/              the same, dimension `row`, one variable a column; a number that does
                        not apply is NaN
    base/, target/      METRIC (model, member, sample): value of each test snapshot
                        pi_spectrum (model, member, wavenumber): sum of |Π̂| over a shell,
                        mean over the member's snapshots; pi_spectrum_true (member, wavenumber)
    history/            train, validation (model, epoch): training curves, NaN where there is
                        none; trained_parameters, trained_samples (model)
    examples/           one snapshot of the target: pi (field, y, x), field being "exact" or a
                        model; psi, omega (y, x)
    Flows of several layers have a dimension `layer` before `y` and before `wavenumber`.
    Everything is in the program's units (box 2π). Root attributes: provenance, `best` ("" if
    there is none), `example_member`, `example_sample`.
evaluation.json
    The summary, see `Summary`. MODEL is a model's name without its repeat. `digest` is the
    SHA-256 of all the rest.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from statistics import mode
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import model_validator

from eddyscope.artefacts.dataset.schema import System
from eddyscope.artefacts.json_part import JsonPart, Number, fault, json_text, read_part
from eddyscope.artefacts.key import BASE, ModelKey
from eddyscope.artefacts.role import Adapted, Role
from eddyscope.artefacts.uncertainty import (
    Resampled,
    alike,
    bounds,
    draws,
    order,
    paired,
    resampled,
)
from eddyscope.config.arrays import FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.config.provenance import file_digest
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.small import read_tree, write_tree

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ALL",
    "Difference",
    "Interval",
    "Metrics",
    "Ranks",
    "Repeats",
    "Row",
    "Summary",
    "THREE_SCALES",
    "adapted",
    "check_table",
    "contribution",
    "difference",
    "differences",
    "error_removed",
    "interval",
    "normalised",
    "ranks",
    "read_best",
    "read_details",
    "read_summary",
    "removed",
    "summarise",
    "target_values",
    "way_of",
    "without_repeat",
    "write_evaluation",
]

MEANING = (
    "mean: over the test members (each the mean of its snapshots), then over repeats; low, high: a "
    "95 % bootstrap interval of that mean, resampling what `of` says, null where there are fewer "
    "than three of either; least, largest: of the members' means, null where there is one member; "
    "repeats: how many trainings, and the least and the largest of their means; see "
    "artefacts/uncertainty.py"
)

FORMAT = "eddyscope-evaluation-7"
"""Another number whenever the table's columns or the groups' variables change."""

THREE_SCALES, ALL = "three_scales", "all"
"""Models that others are compared with."""

REDO = "make it again with `eddyscope evaluate --fresh`"


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    model: str
    """Its key's text."""
    adaptation: str
    """Kind of the adaptation: "base", "layers", "gain", "lora", …"""
    role: Role
    """Its role in the comparison, see `artefacts/role.py`."""
    words: str
    """What it re-trains, in its own words."""
    layers: str
    """Layers that the adaptation names, joined by "+"."""
    parameters: str
    """The adaptation's other parameters, "rank=4;…"."""
    samples: int | None
    """Target samples that it was re-trained on; None for the base model."""
    training_seed: int
    """Seed of the base model's training."""
    recipe: str
    """How it was re-trained, "chosen" or "matched", see `transfer.recipes`; empty for what takes no
    steps and for the base model."""
    seed: int | None
    """Repeat of the re-training, counted from 0; None for the base model."""
    normalisation: str
    """How the system's fields were normalised, see `artefacts/normalisation.py`; "stored" for a
    base model as its file holds it, where that is none of these."""
    system: str
    metric: str
    member: int
    """Test member; where members are split in time, the number of a piece of one."""
    of: str
    """What that is in the dataset: "member 3", or "samples 24-31 of member 0"."""
    averaged: int
    """Snapshots of the member that `value` is the mean of."""
    value: float
    transfer_seed: int | None = None
    """Seed of the re-training; None for the base model."""
    rate: float | None = None
    steps: int | None = None
    """Learning rate and steps of the re-training; None for what takes no steps and for the base
    model."""
    held_out_error: float | None = None
    """The model's error on target samples held out of the training ones, see `learning/choice.py`;
    None where nothing was held out."""
    converged: int | None = None
    """1 or 0: whether the re-training had converged, see `learning/choice.py`; None where that is
    not known."""


class Repeats(JsonPart):
    """What repeating a training with other seeds changed."""

    count: int
    least: Number
    largest: Number
    """Of the repeats' means."""


class Interval(JsonPart):
    """A metric over the test members, see `MEANING`."""

    mean: Number
    low: Number | None = None
    high: Number | None = None
    of: Resampled = ""
    least: Number | None = None
    largest: Number | None = None
    repeats: Repeats | None = None


class Difference(JsonPart):
    """A model's target error less that of another, of layers the best one, on the same members and
    repeats."""

    mean: Number
    low: Number | None = None
    high: Number | None = None
    """95 % bootstrap interval of the paired difference; null where nothing can be resampled."""
    of: Resampled = ""
    better: Number | None = None
    """Share of draws in which the model leaves less than the other; equal ones count half."""


class Ranks(JsonPart):
    """Where a layer stands over draws, see `Order` in `artefacts/uncertainty.py`."""

    probabilities: list[float]
    """Of rank 1, 2, …"""
    expected: float


Metrics = dict[str, Interval]
Card = dict[str, float | None]
"""How good a ranking was, see `advisor/score_card.py`."""


class Summary(JsonPart):
    """The content of evaluation.json."""

    models: dict[str, dict[System, Metrics]]
    """MODEL -> system -> METRIC."""
    adapted: dict[str, Adapted] = {}
    """MODEL -> how its adaptation speaks of itself."""
    error_removed: Metrics
    """MODEL (but base) -> share of the base model's target error that is gone: 1 less the ratio of
    the two mean errors; low and high are of the same draws of both, to first order; least and
    largest of the ratios of single members. The base model's is that of the model as its file holds
    it."""
    beyond_scales: Metrics = {}
    """MODEL (but base and three_scales) -> the same share of the error that `three_scales` leaves;
    empty without that model."""
    contribution: dict[str, Number] = {}
    """Model of single layers -> share of what re-training all layers gains that it gains alone:
    (E_base - E) / (E_base - E_all), mean target errors, E_base of the base model normalised as the
    re-trained ones are; empty without `all`."""
    normalised: dict[str, str] = {}
    """MODEL -> how the target's fields are normalised for it, as in the table."""
    measured_ranking: list[str]
    """Models of single layers by target `error`, the best first; of those that name no recipe."""
    best: str | None
    """Model of a single layer that leaves the least `validation_error`; the first of
    `measured_ranking` where that is not known of all of them."""
    best_by: Literal["validation", "test"] = "test"
    """What `best` was picked on: target samples held out of the training ones, or the test members
    that then judge it."""
    validation_error: dict[str, Number] = {}
    """MODEL -> error on target samples held out of the training ones, mean over repeats, where it
    is known; see `learning/choice.py`."""
    convergence: dict[str, str] = {}
    """Re-trained MODEL -> whether its training had converged, in words that begin with one of
    `CONVERGED` in `artefacts/model.py`."""
    differences: dict[str, Difference] = {}
    """Model of a single layer, but `best` -> against `best`."""
    ranks: dict[str, Ranks] = {}
    """Model of a single layer -> its ranks; empty where nothing can be resampled."""
    tied_with_best: list[str] = []
    """Models of single layers that cannot be told from `best`: of the same error, or such that the
    interval of their difference includes 0. Where nothing can be resampled, only the former."""
    rank_ceiling: Number | None = None
    """Mean rank correlation of the measured orders in two draws: what the best of scores could
    reach but for luck; null where nothing can be resampled."""
    score_card: dict[str, Card] = {}
    """Score -> its card; empty without advice."""
    controls: dict[str, Card] = {}
    """Advice that needs no data ("first_layer", "last_layer", "random") -> its card."""
    renormalised: dict[str, Metrics] = {}
    """Way to normalise the target -> METRIC of the base model, not re-trained."""
    normalisation: dict[str, dict[str, Any]] = {}
    """System -> its own statistics."""
    members: dict[str, list[int]] = {}
    """System -> its test members."""
    metrics: dict[str, str] = {}
    """METRIC -> its meaning."""
    meaning: str = MEANING
    table: str = ""
    """SHA-256 of evaluation.csv; empty where it was not recorded."""

    @model_validator(mode="after")
    def _means_what_it_says(self) -> Summary:
        if self.meaning != MEANING:
            raise ValueError("meaning: its intervals mean something else, it is of another version")
        return self

    @model_validator(mode="after")
    def _names_models(self) -> Summary:
        ranked = {*self.measured_ranking, *self.tied_with_best, *self.ranks, *self.differences}
        unknown = {*ranked, *([self.best] if self.best else [])} - self.models.keys()
        if unknown:
            raise ValueError(f"{min(unknown)} is ranked, but not among the models")
        untold = self.models.keys() - self.adapted.keys()
        if untold:
            raise ValueError(f"{min(untold)} is among the models, but its adaptation is not told")
        for name in self.models:
            try:
                ModelKey.parse(name)
            except CaseError as error:
                raise ValueError(str(error)) from None
        return self


def interval(values: FloatArray) -> Interval:
    """The interval of one metric's values, (repeat, member)."""
    return _interval(float(values.mean()), values, draws(values))


def _interval(mean: float, values: FloatArray, drawn: FloatArray) -> Interval:
    """With least and largest of values, (repeat, member), and the bounds of draws, (draw,)."""
    members, repeats = values.mean(axis=0), values.mean(axis=1)
    several = len(members) > 1
    ends = bounds(drawn) if resampled(values) else None
    return Interval(
        mean=mean,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        of=resampled(values) if ends else "",
        least=float(members.min()) if several else None,
        largest=float(members.max()) if several else None,
        repeats=Repeats(
            count=len(repeats), least=float(repeats.min()), largest=float(repeats.max())
        )
        if len(repeats) > 1
        else None,
    )


def summarise(rows: Iterable[Row]) -> dict[str, dict[System, Metrics]]:
    """MODEL -> system -> METRIC -> interval, in the order of the rows."""
    models: dict[str, dict[System, Metrics]] = {}
    for (model, system, metric), values in _by_metric(rows).items():
        models.setdefault(model, {}).setdefault(system, {})[metric] = interval(values)
    return models


def target_values(rows: Iterable[Row], metric: str = "error") -> dict[str, FloatArray]:
    """MODEL -> a metric's values on the target, (repeat, member)."""
    return {
        model: values
        for (model, system, name), values in _by_metric(rows).items()
        if (system, name) == ("target", metric)
    }


def error_removed(rows: Iterable[Row], reference: str = BASE) -> Metrics:
    """MODEL (but base and the reference) -> share of the reference's target error that is gone, see
    `Summary`; empty where the reference is not there.

    The mean is the ratio of the means: a member of little error weighs as little in it as it does
    in the errors themselves.
    """
    errors = target_values(rows)
    before = errors.pop(reference, None)
    if before is None:
        return {}
    return {model: removed(values, before) for model, values in errors.items() if model != BASE}


def differences(errors: Mapping[str, FloatArray], best: str) -> dict[str, Difference]:
    """Layer, but the best -> its error less that of the best; errors: layer -> (repeat, member)."""
    return {
        name: difference(values, errors[best]) for name, values in errors.items() if name != best
    }


def difference(left: FloatArray, best: FloatArray) -> Difference:
    """A table's mean error less that of another, (repeat, member) of the same members."""
    mean = float(left.mean() - best.mean())
    drawn = paired(left, best)
    of = resampled(left) or resampled(best)
    ends = bounds(drawn) if of else None
    if ends is None:
        return Difference(mean=mean)
    better = np.where(alike(left, best), 0.5, drawn < 0.0).mean()
    return Difference(mean=mean, low=ends[0], high=ends[1], of=of, better=float(better))


def ranks(errors: Mapping[str, FloatArray]) -> dict[str, Ranks]:
    """Layer -> its ranks over draws; errors: layer -> (repeat, member)."""
    found = order(errors) if errors else None
    if found is None:
        return {}
    return {
        name: Ranks(probabilities=[float(p) for p in shares], expected=float(expected))
        for name, shares, expected in zip(
            found.names, found.probabilities, found.expected, strict=True
        )
    }


def contribution(
    models: Mapping[str, Mapping[System, Metrics]], before: Interval | None
) -> dict[str, float]:
    """Model of single layers -> its share of the full gain, see `Summary`; before: error of the
    base model, normalised as the others are."""
    errors = {name: systems["target"]["error"].mean for name, systems in models.items()}
    if before is None or ALL not in errors:
        return {}
    whole = before.mean - errors[ALL]
    return {
        name: (before.mean - error) / whole if whole > 0.0 else math.nan
        for name, error in errors.items()
        if ModelKey.parse(name).is_single_layer
    }


def normalised(rows: Iterable[Row]) -> dict[str, str]:
    """MODEL -> how the target's fields are normalised for it, in the order of the rows."""
    return {without_repeat(row.model): row.normalisation for row in rows if row.system == "target"}


def way_of(normalised: Mapping[str, str]) -> str:
    """How the target's fields are normalised for re-trained models: for most of them, since models
    from random weights have their own way; empty where there are none."""
    ways = [way for name, way in normalised.items() if without_repeat(name) != BASE]
    return mode(ways) if ways else ""


def removed(values: FloatArray, before: FloatArray) -> Interval:
    """1 - values / before, of the means; both (repeat, member), of the same members. Ends of the
    interval to first order."""
    whole = float(before.mean())
    if not whole > 0.0:
        return Interval(mean=math.nan)
    ratio = float(values.mean()) / whole
    gone = 1.0 - values / before.mean(axis=0)
    excess = draws(values) - ratio * draws(before)  # 0 in the mean
    found = _interval(1.0 - ratio, gone, 1.0 - ratio - excess / whole)
    if found.repeats is None:
        return found
    means = 1.0 - values.mean(axis=1) / whole
    repeats = Repeats(count=len(means), least=float(means.min()), largest=float(means.max()))
    return found.model_copy(update={"repeats": repeats})


def adapted(rows: Iterable[Row]) -> dict[str, Adapted]:
    """MODEL -> how its adaptation speaks of itself, in the order of the rows."""
    return {without_repeat(row.model): Adapted(role=row.role, words=row.words) for row in rows}


def without_repeat(model: str) -> str:
    """A model's name without its repeat: MODEL."""
    return str(replace(ModelKey.parse(model), seed=None))


def _by_metric(rows: Iterable[Row]) -> dict[tuple[str, System, str], FloatArray]:
    """(MODEL, system, METRIC) -> values, axes (repeat, member)."""
    values: dict[Any, dict[int | None, list[float]]] = {}
    for row in rows:
        place = (without_repeat(row.model), row.system, row.metric)
        values.setdefault(place, {}).setdefault(row.seed, []).append(row.value)
    return {place: np.array(list(repeats.values())) for place, repeats in values.items()}


def write_evaluation(
    folder: Path,
    rows: Sequence[Row],
    details: Mapping[str, xr.Dataset],
    summary: Summary,
    attributes: Mapping[str, Any],
) -> None:
    """Write the three files, the summary last. Not collective. Raises CannotWrite."""
    text = as_csv(rows)
    write_atomically(folder / "evaluation.csv", text)
    groups = {"table": as_dataset(rows), **details}
    root = {**attributes, "format": FORMAT, "best": summary.best or ""}
    write_tree(folder / "evaluation.h5", groups, root)
    whole = summary.model_copy(update={"table": sha256(text.encode()).hexdigest()})
    write_atomically(folder / "evaluation.json", json_text(whole))


def check_table(path: Path) -> None:
    """Raise CaseError unless evaluation.csv is as the summary beside it says, if there is one.

    Not collective.
    """
    beside = path.with_name("evaluation.json")
    if not beside.exists():
        return
    recorded = read_summary(beside).table
    if recorded and file_digest(path) != recorded:
        raise CaseError(
            f"{path}: not the table that {beside.name} was made with (damaged, or changed by "
            f"hand); {REDO}"
        )


def as_csv(rows: Iterable[Row]) -> str:
    """The table as comma-separated values; what does not apply is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()


def as_dataset(rows: Sequence[Row]) -> xr.Dataset:
    """The table with a variable a column; numbers that do not apply are NaN."""
    import xarray as xr

    columns = {}
    for field in fields(Row):
        values = [getattr(row, field.name) for row in rows]
        if any(value is None for value in values):
            values = [math.nan if value is None else float(value) for value in values]
        columns[field.name] = ("row", np.array(values))
    return xr.Dataset(columns)


def read_summary(path: Path) -> Summary:
    """Read evaluation.json. Not collective. CaseError if it is missing or not one of ours."""
    try:
        return read_part(Summary, path)
    except FileNotFoundError:
        raise CaseError(f"{path}: missing; run `eddyscope evaluate` first") from None
    except (OSError, ValueError) as error:
        raise CaseError(f"{path}: not a usable evaluation ({fault(error)}); {REDO}") from None


def read_best(path: Path) -> ModelKey:
    """The best model of a single layer, of evaluation.json. Not collective.

    Raises CaseError, also if no layer was re-trained alone."""
    best = read_summary(path).best
    if best is None:
        raise CaseError(
            f'{path}: no model of a single layer in it; set transfer.layers = "each", or name at '
            "least one layer alone"
        )
    return ModelKey.parse(best)


def read_details(path: Path) -> xr.DataTree:
    """Read evaluation.h5. Not collective. CaseError if missing, damaged or of another kind."""
    return read_tree(path, "evaluation", FORMAT)
