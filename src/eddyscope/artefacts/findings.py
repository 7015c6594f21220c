"""What a study found of each shift, at each number of target samples, with intervals.

summary.csv
    One row a shift × samples × model, columns as in `ModelRow`.
findings.csv
    One row a shift × samples, columns as in `Finding`: which layer, how sure, and what it brings.

A shift is a case with one value of all that is varied but seeds and samples. Errors are those on
the target's test members. Those of a model are a table (repeat, member), resampled as in
`uncertainty.py`: a repeat is a base model (a training seed), and the mean over re-trainings of it;
where there is one base model, it is a re-training. Models are compared on the same members and
repeats. `x_low` and `x_high` are the ends of a 95 % interval of `x`; what is not known is empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eddyscope.artefacts.evaluation import (
    ALL,
    THREE_SCALES,
    Difference,
    Interval,
    difference,
    interval,
    removed,
    way_of,
)
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.study import Error, Table, write_table
from eddyscope.artefacts.uncertainty import (
    bounds,
    draws,
    order,
    rank_correlations,
    resampled,
    tied_with,
)
from eddyscope.config.arrays import FloatArray

__all__ = [
    "SCALE",
    "Finding",
    "Measured",
    "ModelRow",
    "Shift",
    "findings_of",
    "model_rows",
    "shifts_of",
    "write_findings",
]

SCALE = "scale"
"""The model that scales the output by one number."""

FEWEST_LAYERS = 3
"""For a trend with depth."""


@dataclass(frozen=True)
class Measured:
    """One model of one shift at one number of samples."""

    name: str
    """Its key without its repeat; of several ways to normalise the base model, with the way."""
    role: str
    words: str
    normalisation: str
    recipe: str
    errors: FloatArray
    """(repeat, member)."""
    repeats: tuple[str, ...]
    """Name of each repeat."""
    held_out: FloatArray
    """Error on samples held out of the training ones, (repeat,); NaN where it is not known."""
    trainings: int
    converged: int
    judged: int
    """Trainings of which it is known whether they converged."""

    @property
    def error(self) -> float:
        """Mean over repeats and members; what is not finite counts as the largest."""
        mean = float(self.errors.mean())
        return mean if math.isfinite(mean) else math.inf

    @property
    def is_layer(self) -> bool:
        """Whether it is one layer alone, re-trained as the case does first."""
        if self.role != "layers":
            return False
        key = ModelKey.parse(self.name)
        return key.is_single_layer and key.recipe is None


@dataclass(frozen=True)
class Shift:
    """All models of one shift at one number of target samples."""

    case: str
    settings: tuple[tuple[str, str], ...]
    """What is varied but seeds and samples, and its value here."""
    samples: int
    models: Mapping[str, Measured]
    base_models: int

    @property
    def title(self) -> str:
        return ", ".join([self.case, *(f"{name} = {value}" for name, value in self.settings)])

    @property
    def layers(self) -> list[str]:
        """Models of a single layer, first to last."""
        found = [name for name, model in self.models.items() if model.is_layer]
        return sorted(found, key=lambda name: (len(name), name))

    @property
    def best(self) -> str | None:
        """The layer of the least mean error; None where no layer was re-trained."""
        return min(self.layers, key=lambda name: self.models[name].error, default=None)

    @property
    def way(self) -> str:
        """How the target's fields are normalised for re-trained models; empty without any."""
        made = {name: m.normalisation for name, m in self.models.items() if m.role != "base"}
        return way_of(made)

    @property
    def untouched(self) -> Measured | None:
        """The base model, in that of its ways to be normalised that leaves the least error."""
        ways = [model for model in self.models.values() if model.role == "base"]
        return min(ways, key=lambda model: model.error, default=None)

    @property
    def before(self) -> Measured | None:
        """The base model normalised as the re-trained ones are; None where it is not there."""
        ways = [model for model in self.models.values() if model.role == "base"]
        return next((model for model in ways if model.normalisation == self.way), None)

    @property
    def members(self) -> int:
        return max((model.errors.shape[1] for model in self.models.values()), default=0)

    @property
    def repeats(self) -> int:
        return max((len(model.errors) for model in self.models.values()), default=0)

    @property
    def repeats_are(self) -> str:
        """What a repeat is, in words."""
        return "base models" if self.base_models > 1 else "re-trainings"

    def limited_to(self, repeats: Sequence[str]) -> Shift:
        """The same, of these repeats alone; a model that has none of them is as it is."""
        return replace(self, models={name: _limited(m, repeats) for name, m in self.models.items()})


@dataclass(frozen=True)
class ModelRow:
    """A model of a shift."""

    shift: Shift
    model: Measured
    error: Interval
    """Mean squared error over the mean square of Π, on the target's test members."""
    against_three_scales: Difference | None
    """Its error less that of `three_scales`, paired."""
    against_best: Difference | None
    """Its error less that of the best layer, paired."""
    beyond_three_scales: Interval | None
    """Share that it takes away of the error that `three_scales` leaves."""
    contribution: Interval | None
    """Share of what re-training all layers gains that it gains: (E_before - E) / (E_before -
    E_all), E_before of the base model normalised as the re-trained ones are."""
    probability: float | None = None
    """Share of draws in which this layer has the least error; of layers alone."""
    tied: bool | None = None
    """Whether it cannot be told from the best layer; of layers alone."""

    def columns(self) -> dict[str, str]:
        """A row of summary.csv."""
        model, held_out = self.model, self.model.held_out
        return {
            **_of_shift(self.shift),
            "model": model.name,
            "role": model.role,
            "recipe": model.recipe,
            "words": model.words,
            "normalised_by": model.normalisation,
            "trainings": str(model.trainings),
            **_with_ends("error", self.error),
            **_with_ends("against_three_scales", self.against_three_scales),
            **_with_ends("against_best_layer", self.against_best),
            **_with_ends("beyond_three_scales", self.beyond_three_scales),
            **_with_ends("contribution", self.contribution),
            "probability_best": _text(self.probability),
            "tied_with_best": "" if self.tied is None else str(int(self.tied)),
            "held_out_error": _text(float(held_out.mean()) if held_out.size else None),
            "converged": str(model.converged),
            "judged": str(model.judged),
        }


@dataclass(frozen=True)
class Finding:
    """What one shift says at one number of samples."""

    shift: Shift
    best: str
    """The layer of the least mean error on the test members, which so name what they judge: its
    error is a little flattered."""
    tied: tuple[str, ...]
    """Layers that cannot be told from it."""
    probability: float | None
    """Share of draws in which it has the least error; None where nothing can be resampled."""
    error: Interval
    """Of the best layer."""
    chosen: Mapping[str, int]
    """Layer of the least held-out error -> in how many repeats; empty where that is not known."""
    chosen_error: Interval | None
    """Of the layer so chosen in each repeat."""
    regret: Difference | None
    """That less the error of the best layer, paired."""
    depth: Interval | None
    """Spearman's ρ of error and depth: 1 where each layer leaves more than the one before."""
    beyond: Mapping[str, Interval | None]
    """`three_scales`, `scale`, `untouched` (the base model, in that way to be normalised that
    leaves the least) -> share that the best layer takes away of the error that this leaves."""
    contribution: Interval | None
    """Of the best layer, see `ModelRow`."""
    chosen_beyond: Interval | None
    """That of `beyond` for the chosen layer and `three_scales`: no test member has a part in the
    choice."""
    all_beyond: Interval | None
    """Share that re-training all layers takes away of the error that the best layer leaves."""

    def columns(self) -> dict[str, str]:
        """A row of findings.csv."""
        best = self.shift.models[self.best]
        layers = [self.shift.models[name] for name in self.shift.layers]
        return {
            **_of_shift(self.shift),
            "best_layer": self.best,
            "tied_with_best": " ".join(self.tied),
            "probability_best": _text(self.probability),
            **_with_ends("error", self.error),
            "chosen_layers": " ".join(f"{name}:{n}" for name, n in self.chosen.items()),
            **_with_ends("chosen_error", self.chosen_error),
            **_with_ends("regret", self.regret),
            **_with_ends("depth_correlation", self.depth),
            **{k: v for name, share in self.beyond.items()
               for k, v in _with_ends(f"best_beyond_{name}", share).items()},
            **_with_ends("contribution", self.contribution),
            **_with_ends("chosen_beyond_three_scales", self.chosen_beyond),
            **_with_ends("all_beyond_best", self.all_beyond),
            "trainings_of_best": str(best.trainings),
            "converged_of_best": str(best.converged),
            "judged_of_best": str(best.judged),
            "trainings_of_layers": str(sum(layer.trainings for layer in layers)),
            "converged_of_layers": str(sum(layer.converged for layer in layers)),
            "judged_of_layers": str(sum(layer.judged for layer in layers)),
        }  # fmt: skip


def shifts_of(errors: Iterable[Error]) -> list[Shift]:
    """All shifts of a study at all numbers of samples, these ascending; shifts as they come."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], dict[int, list[Error]]] = {}
    for error in errors:
        found.setdefault((error.case, error.others), {}).setdefault(error.samples, []).append(error)
    return [
        _shift(case, others, samples, rows[samples])
        for (case, others), rows in found.items()
        for samples in sorted(rows)
    ]


def findings_of(shifts: Iterable[Shift]) -> list[Finding]:
    """Of every shift of which single layers were re-trained."""
    return [_finding(shift, shift.best) for shift in shifts if shift.best is not None]


def model_rows(shift: Shift) -> list[ModelRow]:
    """All models of a shift, in their order."""
    models, floor, best = shift.models, shift.models.get(THREE_SCALES), shift.best
    layers = {name: models[name].errors for name in shift.layers}
    ties = tied_with(layers, best) if best else []
    ranks = order(layers) if layers else None
    first = dict(zip(ranks.names, ranks.probabilities[:, 0], strict=True)) if ranks else {}
    rows = []
    for name, model in models.items():
        values = model.errors
        rows.append(
            ModelRow(
                shift,
                model,
                interval(values),
                difference(values, floor.errors) if floor and model is not floor else None,
                difference(values, layers[best]) if best and name != best else None,
                _beyond(values, floor) if model is not floor else None,
                _contribution(shift, values) if model.role != "base" else None,
                float(first[name]) if name in first else None,
                name == best or name in ties if name in layers else None,
            )
        )
    return rows


def write_findings(folder: Path, shifts: Sequence[Shift]) -> None:
    """summary.csv and findings.csv. Not collective. Raises CannotWrite."""
    of_models = [row.columns() for shift in shifts for row in model_rows(shift)]
    of_shifts = [finding.columns() for finding in findings_of(shifts)]
    for name, rows in (("summary", of_models), ("findings", of_shifts)):
        columns = tuple(dict.fromkeys(column for row in rows for column in row))
        texts = [tuple(row.get(column, "") for column in columns) for row in rows]
        write_table(folder / f"{name}.csv", Table(columns, texts))


def _finding(shift: Shift, best: str) -> Finding:
    models, layers = shift.models, {name: shift.models[name].errors for name in shift.layers}
    ranks, floor, whole = order(layers), models.get(THREE_SCALES), models.get(ALL)
    names = _chosen(shift)
    chosen = np.stack([layers[n][place] for place, n in enumerate(names)]) if names else None
    references = {THREE_SCALES: floor, SCALE: models.get(SCALE), "untouched": shift.untouched}
    return Finding(
        shift=shift,
        best=best,
        tied=tuple(tied_with(layers, best)),
        probability=float(ranks.probabilities[ranks.names.index(best), 0]) if ranks else None,
        error=interval(layers[best]),
        chosen={name: names.count(name) for name in layers if name in names},
        chosen_error=interval(chosen) if chosen is not None else None,
        regret=difference(chosen, layers[best]) if chosen is not None else None,
        depth=_trend([layers[name] for name in shift.layers]),
        beyond={name: _beyond(layers[best], than) for name, than in references.items()},
        contribution=_contribution(shift, layers[best]),
        chosen_beyond=_beyond(chosen, floor),
        all_beyond=_beyond(whole.errors, models[best]) if whole else None,
    )


def _chosen(shift: Shift) -> list[str]:
    """The layer of the least held-out error in each repeat; empty unless all of them are known."""
    names = shift.layers
    held_out = np.array([shift.models[name].held_out for name in names])
    if not np.isfinite(held_out).all():
        return []
    return [names[place] for place in held_out.argmin(axis=0)]


def _beyond(errors: FloatArray | None, than: Measured | None) -> Interval | None:
    """Share that is taken away of a model's error; None where one of both is not there."""
    return None if errors is None or than is None else removed(errors, than.errors)


def _contribution(shift: Shift, errors: FloatArray) -> Interval | None:
    """Share of the full gain; its ends to first order. None where there is no such gain."""
    before, whole = shift.before, shift.models.get(ALL)
    if before is None or whole is None:
        return None
    gain = float(before.errors.mean() - whole.errors.mean())
    if not gain > 0.0:
        return None
    share = float(before.errors.mean() - errors.mean()) / gain
    first = draws(before.errors)
    excess = first - draws(errors) - share * (first - draws(whole.errors))  # 0 in the mean
    ends = bounds(share + excess / gain) if resampled(errors) else None
    return Interval(mean=share, low=ends[0] if ends else None, high=ends[1] if ends else None,
                    of=resampled(errors) if ends else "")  # fmt: skip


def _trend(errors: Sequence[FloatArray]) -> Interval | None:
    """Spearman's ρ of error and depth; None for fewer than three layers, or all alike."""
    if len(errors) < FEWEST_LAYERS:
        return None
    depth = np.arange(1.0, len(errors) + 1)
    means = np.array([values.mean() for values in errors])
    rho = float(rank_correlations(depth[None], means[None])[0])
    if not math.isfinite(rho):
        return None
    drawn = np.stack([draws(values) for values in errors], axis=1)
    depths = np.broadcast_to(depth, drawn.shape)
    ends = bounds(rank_correlations(depths, drawn)) if resampled(errors[0]) else None
    return Interval(mean=rho, low=ends[0] if ends else None, high=ends[1] if ends else None,
                    of=resampled(errors[0]) if ends else "")  # fmt: skip


def _shift(
    case: str, others: tuple[tuple[str, str], ...], samples: int, rows: Sequence[Error]
) -> Shift:
    base_models = len({row.base_model for row in rows})
    ways: dict[str, set[str]] = {}
    for row in rows:
        ways.setdefault(row.model, set()).add(row.normalisation)
    found: dict[str, list[Error]] = {}
    for row in rows:
        several = len(ways[row.model]) > 1
        name = f"{row.model} ({row.normalisation})" if several else row.model
        found.setdefault(name, []).append(row)
    models = {name: _measured(name, each, base_models > 1) for name, each in found.items()}
    shift = Shift(case, others, samples, models, base_models)
    if base_models == 1:
        return shift
    first, *rest = models.values()
    return shift.limited_to([r for r in first.repeats if all(r in m.repeats for m in rest)])


def _measured(name: str, rows: Sequence[Error], by_base: bool) -> Measured:
    """A model, from its rows. What has several values in a place is their mean; members are those
    of all repeats."""
    tables: dict[str, dict[str, list[float]]] = {}
    trainings: dict[tuple[str, str], Error] = {}
    for row in rows:
        repeat = row.base_model if by_base else row.training
        tables.setdefault(repeat, {}).setdefault(row.member, []).append(row.error)
        trainings[repeat, row.training] = row
    common = [m for m in next(iter(tables.values())) if all(m in each for each in tables.values())]
    held_out = [
        np.mean([row.held_out_error for (mine, _), row in trainings.items() if mine == repeat])
        for repeat in tables
    ]
    judged = [row.converged for row in trainings.values() if row.converged is not None]
    return Measured(
        name=name,
        role=rows[0].role,
        words=rows[0].words,
        normalisation=rows[0].normalisation,
        recipe=rows[0].recipe,
        errors=np.array([[np.mean(each[m]) for m in common] for each in tables.values()]),
        repeats=tuple(tables),
        held_out=np.array(held_out),
        trainings=len(trainings),
        converged=sum(judged),
        judged=len(judged),
    )


def _limited(model: Measured, repeats: Sequence[str]) -> Measured:
    places = [place for place, name in enumerate(model.repeats) if name in repeats]
    if not places or len(places) == len(model.repeats):
        return model
    return replace(
        model,
        errors=model.errors[places],
        repeats=tuple(model.repeats[place] for place in places),
        held_out=model.held_out[places],
    )


def _of_shift(shift: Shift) -> dict[str, str]:
    """The first columns of both tables."""
    best = shift.models[shift.best] if shift.best else next(iter(shift.models.values()))
    return {
        "case": shift.case,
        **dict(shift.settings),
        "samples": str(shift.samples),
        "normalisation": shift.way,
        "members": str(shift.members),
        "repeats": str(shift.repeats),
        "repeats_are": shift.repeats_are,
        "resampled": resampled(best.errors).replace("repeats", shift.repeats_are),
    }


def _with_ends(name: str, found: Interval | Difference | None) -> dict[str, str]:
    ends = (found.mean, found.low, found.high) if found else (None, None, None)
    columns = (name, f"{name}_low", f"{name}_high")
    return {column: _text(value) for column, value in zip(columns, ends, strict=True)}


def _text(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"
