"""The models compared on the target, and the order of layers that was predicted beforehand.

Everything here is arithmetic on the evaluation and the advice. "Error" is the mean squared
error of Π over its mean square, on members that no training saw: 1 is as bad as predicting
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from eddyscope.artefacts.evaluation import (
    Card,
    Difference,
    Interval,
    Metrics,
    Ranks,
    way_of,
    without_repeat,
)
from eddyscope.artefacts.key import BASE, ModelKey
from eddyscope.artefacts.role import Adapted, Role
from eddyscope.artefacts.uncertainty import FEWEST
from eddyscope.config.arrays import FloatArray
from eddyscope.report.results import Absent, Results

__all__ = [
    "Comparison",
    "Prediction",
    "compare",
    "fixed",
    "in_percent",
    "in_words",
    "less",
    "listed",
    "paired_in_words",
    "percent",
]

NONE_LEFT = 5e-4
"""Error that is written as 0.000: there is nothing left of which a share could be told."""

ALIKE = 1e-9
"""Relative difference below which two errors are the same: that of rounding."""


def in_words(interval: Interval, digits: int = 3) -> str:
    """ "0.310 (0.290 to 0.330)": the mean, and its interval where there is one of some length."""
    if not math.isfinite(interval.mean):
        return "not finite"
    return _with_range(interval, lambda value: fixed(value, digits), "")


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals; never "-0.0"."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _with_range(interval: Interval, text: Callable[[float], str], unit: str) -> str:
    """The mean, and in brackets the interval, unless all three are written alike."""
    mean = text(interval.mean)
    if interval.low is None or interval.high is None:
        return f"{mean}{unit}"
    low, high = text(interval.low), text(interval.high)
    return f"{mean}{unit}" if low == mean == high else f"{mean}{unit} ({low} to {high})"


def percent(share: float) -> str:
    """ "45", "0.6": a share in percent, with a decimal where the whole numbers say too little."""
    value = 100.0 * share
    return fixed(value, 0 if abs(value) >= 9.95 or abs(value) < 0.05 else 1)


def in_percent(share: Interval) -> str:
    """ "45 % (40 to 49)": a share in percent, with its interval."""
    return _with_range(share, percent, " %")


def paired_in_words(difference: Difference, digits: int = 3) -> str:
    """ "+0.012 (+0.008 to +0.016)": a paired difference, with its interval."""
    if not math.isfinite(difference.mean):
        return "not finite"
    as_interval = Interval(mean=difference.mean, low=difference.low, high=difference.high)
    return _with_range(as_interval, lambda value: _signed(value, digits), "")


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}" if round(value, digits) else "0"


def listed(names: Sequence[str]) -> str:
    """ "l01", "l01 and l02", "l01, l02 and l03"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def less(share: float) -> str:
    """ "45 % less" or "3 % more", of a share that is gone."""
    return f"{percent(abs(share))} % {'less' if share >= 0 else 'more'}"


@dataclass(frozen=True)
class Prediction:
    """The order in which one score puts the layers before any is re-trained."""

    score: str
    groups: tuple[tuple[str, ...], ...]
    """Layers, the best first, in groups that the score does not tell apart."""
    card: Card
    """How well it did; empty if it was not judged."""

    @property
    def tells(self) -> bool:
        """Whether it tells any layer from any other."""
        return len(self.groups) > 1

    @property
    def first(self) -> tuple[str, ...]:
        """The layers that it puts first."""
        return self.groups[0]

    def rank(self, layer: str) -> int | None:
        """1 for the layers put first, and so on; None if the score does not rank it."""
        before = 0
        for group in self.groups:
            if layer in group:
                return before + 1 if self.tells else None
            before += len(group)
        return None

    @property
    def words(self) -> str:
        """The score's name as it is printed."""
        return self.score.replace("_", " ")


@dataclass(frozen=True)
class Comparison:
    """How every model does on the target, and what was predicted."""

    target: Mapping[str, Metrics]
    """Model -> metric -> its interval on the target."""
    on_base: Interval | None
    """Error of the base model on its own system."""
    renormalised: Mapping[str, Metrics]
    """Way to normalise the target -> metric of the base model under it; in `target` the base model
    is as its file holds it, and every other model normalised as it was re-trained."""
    normalised: Mapping[str, str]
    """Model -> how the target is normalised for it in `target`."""
    adapted: Mapping[str, Adapted]
    """Model -> how its adaptation speaks of itself."""
    layers: tuple[str, ...]
    """Models of a single layer, first to last."""
    measured: tuple[str, ...]
    """The same by error on the test runs, the least first."""
    chosen: str | None
    """The layer that the evaluation calls the best."""
    error_removed: Metrics
    """Model -> share of the base model's error that it removes."""
    beyond_scales: Metrics
    """Model -> share that it removes of the error that three scales leave; empty where these were
    not tried."""
    contribution: Mapping[str, float]
    """Layer -> its share of what re-training all layers gains; empty where that was not done."""
    members: int
    """Test runs of the target."""
    meanings: Mapping[str, str]
    """Metric -> what it is."""
    predictions: tuple[Prediction, ...] = ()
    advised_by: str = ""
    """The score whose order is the advice."""
    reason: str = ""
    """Why it is that, in words."""
    differences: Mapping[str, Difference] = field(default_factory=dict)
    """Layer -> its error less the best one's, paired."""
    ranks: Mapping[str, Ranks] = field(default_factory=dict)
    """Layer -> its ranks over draws; empty where nothing can be resampled."""
    ties: tuple[str, ...] = ()
    """Layers that cannot be told from the best, by error."""
    ceiling: float | None = None
    """Mean rank correlation of the measured orders in two draws."""
    controls: Mapping[str, Card] = field(default_factory=dict)
    """Advice that needs no data ("first_layer", …) -> its card."""
    convergence: Mapping[str, str] = field(default_factory=dict)
    """Re-trained model -> whether its training had converged, in words."""
    by_member: Mapping[str, FloatArray] = field(default_factory=dict)
    """Model -> error of each test run, (member,); empty where the details are missing."""

    def error(self, model: str) -> Interval:
        """Error of a model on the target. Absent if it was not evaluated."""
        return self.metric(model, "error")

    def metric(self, model: str, name: str) -> Interval:
        try:
            return self.target[model][name]
        except KeyError:
            raise Absent(f"the evaluation has no {name} of {model} on the target") from None

    @property
    def best(self) -> str:
        """The layer that the evaluation calls the best."""
        if self.chosen is None:
            raise Absent("no single layer was re-trained")
        return self.chosen

    @property
    def best_is(self) -> str:
        """What makes it the best, in words."""
        if self.chosen == next(iter(self.measured), None):
            return "the least error of the single layers"
        return "of the single layers the least error on target samples held out of re-training"

    @property
    def resampled(self) -> str:
        """What intervals are made by resampling, in words; empty where there are none."""
        errors = [metrics["error"] for metrics in self.target.values() if "error" in metrics]
        of = {error.of for error in errors} - {""}
        times = max((error.repeats.count for error in errors if error.repeats), default=1)
        runs, trainings = f"the {self.members} test runs", f"the {times} trainings of each layer"
        if of == {"repeats"}:
            return f"{trainings}, on these test runs alone"
        both = any(each != "members" for each in of)
        return f"{runs}{f' and {trainings}' if both else ''}" if of else ""

    @property
    def no_interval(self) -> str:
        """Why there is none."""
        count = "one test run is" if self.members == 1 else f"{self.members} test runs are"
        return f"{count} too few ({FEWEST} or more)"

    @property
    def advice(self) -> Prediction:
        """The prediction that is the advice."""
        for prediction in self.predictions:
            if prediction.score == self.advised_by:
                return prediction
        raise Absent("there is no advice")

    def removed(self, model: str) -> float:
        """Share of the base model's error that a model removes; NaN if there is none."""
        return self.error_removed[model].mean if model in self.error_removed else math.nan

    @property
    def way(self) -> str:
        """How the target is normalised for the re-trained models; empty without any."""
        return way_of(self.normalised)

    @property
    def otherwise(self) -> dict[str, Interval]:
        """Way -> error of the base model on the target, for the ways that are not its own."""
        return {
            way: metrics["error"]
            for way, metrics in self.renormalised.items()
            if way != self.normalised.get(BASE) and "error" in metrics
        }

    def others(self, *roles: Role) -> list[str]:
        """Models but the base, single layers and `matched`, of the roles named or of any, in their
        order."""
        known = (BASE, *self.layers, *self.matched)
        return [
            name
            for name in self.target
            if name not in known and (not roles or self.adapted[name].role in roles)
        ]

    @property
    def matched(self) -> list[str]:
        """Models that were re-trained a second time, all at one rate and number of steps."""
        return [name for name in self.target if ModelKey.parse(name).recipe is not None]

    @property
    def repaired_by(self) -> str | None:
        """The first of the floors that leaves no error: the target has other sizes, and no more."""
        floors = (name for name in self.others("floor") if "error" in self.target[name])
        return next((name for name in floors if self.error(name).mean < NONE_LEFT), None)

    def described(self, name: str) -> str:
        """A model's name for readers, with what was re-trained in it."""
        words = self.adapted[name].words
        if name == BASE:
            return f"{words} ({name})"
        return name if words == name else f"{name} ({words})"

    def excess(self, layer: str, metric: str = "error") -> float:
        """By which share more error than the best layer's one is left with `layer`."""
        values = [self.metric(name, metric).mean for name in self.layers]
        least = min(values)
        return self.metric(layer, metric).mean / least - 1.0 if least > 0 else math.nan

    def rank(self, layer: str) -> int:
        """Place of a layer by error, 1 for the best; layers of the same error share theirs."""
        mine = self.error(layer).mean
        return 1 + sum(self.error(name).mean < mine * (1.0 - ALIKE) for name in self.layers)

    @property
    def all_alike(self) -> bool:
        """Whether all layers leave the same error."""
        return all(self.rank(name) == 1 for name in self.layers)

    def rivals(self) -> list[tuple[str, int]]:
        """Layers that do as well as the best or better on some test runs, and on how many.

        Absent where the runs' own errors are not known.
        """
        if not set(self.layers) <= self.by_member.keys():
            raise Absent("evaluation.h5 is missing")
        best = self.by_member[self.best]
        others = (name for name in self.measured if name != self.best)
        won = {name: int((self.by_member[name] <= best).sum()) for name in others}
        return [(name, count) for name, count in won.items() if count]


def compare(results: Results) -> Comparison:
    """The comparison of a case's models. Absent if there is no evaluation."""
    found = results.evaluation
    if found is None:
        raise Absent("evaluation.json is missing or unusable")
    target = {
        name: systems["target"] for name, systems in found.models.items() if "target" in systems
    }
    keys = {name: ModelKey.parse(name) for name in target}
    singles = sorted(n for n, key in keys.items() if key.is_single_layer and key.recipe is None)
    advice = results.advice
    scores = advice.scores.items() if advice is not None else ()
    return Comparison(
        target=target,
        renormalised=found.renormalised,
        normalised=found.normalised,
        adapted=found.adapted,
        on_base=found.models.get(BASE, {}).get("base", {}).get("error"),
        layers=tuple(singles),
        measured=tuple(found.measured_ranking),
        chosen=found.best,
        error_removed=found.error_removed,
        beyond_scales=found.beyond_scales,
        contribution=found.contribution,
        members=len(found.members.get("target", [])),
        meanings=found.metrics,
        predictions=tuple(
            Prediction(name, tuple(map(tuple, score.groups)), found.score_card.get(name, {}))
            for name, score in scores
        ),
        advised_by=advice.default_score if advice is not None else "",
        reason=advice.reason if advice is not None else "",
        differences=found.differences,
        ranks=found.ranks,
        ties=tuple(found.tied_with_best),
        ceiling=found.rank_ceiling,
        controls=found.controls,
        convergence=found.convergence,
        by_member=_by_member(results, singles),
    )


def _by_member(results: Results, models: Sequence[str]) -> dict[str, FloatArray]:
    """Model -> error of each test run, mean over repeats."""
    try:
        errors: xr.DataArray = results.group("evaluation", "target")["error"]
    except (Absent, KeyError):
        return {}
    means = errors.mean("sample")
    rows: dict[str, list[FloatArray]] = {}
    for name in map(str, means["model"].values):
        rows.setdefault(without_repeat(name), []).append(means.sel(model=name).values)
    return {name: np.mean(rows[name], axis=0) for name in models if name in rows}
