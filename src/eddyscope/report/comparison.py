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

from eddyscope.artefacts.evaluation import Card, Interval, Metrics, without_repeat
from eddyscope.artefacts.key import BASE, ModelKey
from eddyscope.artefacts.role import Adapted, Role
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
    "percent",
]

ALIKE = 1e-9
"""Relative difference below which two errors are the same: that of rounding."""


def in_words(interval: Interval, digits: int = 3) -> str:
    """ "0.310 (0.290 to 0.330)": the mean, and its range over test runs where there are several
    that differ."""
    if not math.isfinite(interval.mean):
        return "not finite"
    return _with_range(interval, lambda value: fixed(value, digits), "")


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals; never "-0.0"."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _with_range(interval: Interval, text: Callable[[float], str], unit: str) -> str:
    """The mean, and in brackets the range, unless all three are written alike."""
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
    """ "45 % (40 to 49)": a share in percent, with its range over test runs."""
    return _with_range(share, percent, " %")


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
    """The same by error, the best first."""
    error_removed: Metrics
    """Model -> share of the base model's error that it removes."""
    beyond_scales: Metrics
    """Model -> share that it removes of the error that three scales leave; empty where these were
    not tried."""
    members: int
    """Test runs of the target."""
    meanings: Mapping[str, str]
    """Metric -> what it is."""
    predictions: tuple[Prediction, ...] = ()
    advised_by: str = ""
    """The score whose order is the advice."""
    reason: str = ""
    """Why it is that, in words."""
    controls: Mapping[str, Card] = field(default_factory=dict)
    """Advice that needs no data ("first_layer", …) -> its card."""
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
        """The layer whose re-training leaves the least error."""
        if not self.measured:
            raise Absent("no single layer was re-trained")
        return self.measured[0]

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
        return next((way for name, way in self.normalised.items() if name != BASE), "")

    @property
    def otherwise(self) -> dict[str, Interval]:
        """Way -> error of the base model on the target, for the ways that are not its own."""
        return {
            way: metrics["error"]
            for way, metrics in self.renormalised.items()
            if way != self.normalised.get(BASE) and "error" in metrics
        }

    def others(self, *roles: Role) -> list[str]:
        """Models but the base and single layers, of the roles named or of any, in their order."""
        return [
            name
            for name in self.target
            if name not in (BASE, *self.layers) and (not roles or self.adapted[name].role in roles)
        ]

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
        """Layers that do better than the best on some test runs, and on how many of them.

        Absent where the runs' own errors are not known.
        """
        if not set(self.layers) <= self.by_member.keys():
            raise Absent("evaluation.h5 is missing")
        best = self.by_member[self.best]
        won = {name: int((self.by_member[name] <= best).sum()) for name in self.measured[1:]}
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
        error_removed=found.error_removed,
        beyond_scales=found.beyond_scales,
        members=len(found.members.get("target", [])),
        meanings=found.metrics,
        predictions=tuple(
            Prediction(name, tuple(map(tuple, score.groups)), found.score_card.get(name, {}))
            for name, score in scores
        ),
        advised_by=advice.default_score if advice is not None else "",
        reason=advice.reason if advice is not None else "",
        controls=found.controls,
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
