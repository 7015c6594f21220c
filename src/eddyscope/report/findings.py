"""What the evaluation and the advice say, as numbers: the facts behind table, pictures and words.

Everything here is arithmetic on evaluation.json and advice.json. "Error" is the mean
squared error of Π over its mean square, on members that no training saw: 1 is as bad as
predicting nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eddyscope.report.results import Absent, Results

__all__ = ["CONTROLS", "Findings", "Score", "Value", "find"]

CONTROLS = {
    "gain": "one scale a channel",
    "all": "all layers",
    "scratch": "all, from random weights",
    "scale": "one number",
}
"""Models that layers are compared with, and what is re-trained in them."""


@dataclass(frozen=True)
class Value:
    """A metric over held-out members: mean, and spread (standard deviation)."""

    mean: float
    spread: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.spread:.3f}"


@dataclass(frozen=True)
class Score:
    """One way of predicting the ranking of layers, and how well it did."""

    name: str
    ranking: tuple[str, ...]
    card: Mapping[str, Any]
    """spearman, regret_mse, regret_spectrum; empty if it was not judged."""

    def rank(self, layer: str) -> int | None:
        """1 for the layer put first; None if the score does not rank it."""
        return self.ranking.index(layer) + 1 if layer in self.ranking else None


@dataclass(frozen=True)
class Findings:
    """Errors of every model on the target, and what was predicted."""

    target: Mapping[str, Mapping[str, Value]]
    """Model -> metric -> value on the target."""
    base_at_home: Value | None
    """Error of the base model on its own system."""
    scores: tuple[Score, ...] = ()
    default_score: str = ""
    reason: str = ""
    """The advice's own words."""
    layers: tuple[str, ...] = field(default=())
    """Single layers that were re-trained, first to last."""
    gains: Mapping[str, Value] = field(default_factory=dict)
    """Model -> share of the base model's error that it takes away, run by run."""
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Advice that needs no data ("first_layer", …) -> its score card."""

    def error(self, model: str) -> Value:
        """Error of a model on the target. Absent if it was not evaluated."""
        return self.metric(model, "error")

    def metric(self, model: str, name: str) -> Value:
        try:
            return self.target[model][name]
        except KeyError:
            raise Absent(f"the evaluation has no {name} of {model} on the target") from None

    @property
    def measured(self) -> list[str]:
        """Layers by measured error, the best first."""
        return sorted(self.layers, key=lambda name: (self.error(name).mean, name))

    @property
    def best(self) -> str:
        """The layer whose re-training leaves the least error."""
        if not self.layers:
            raise Absent("no single layer was re-trained")
        return self.measured[0]

    @property
    def advice(self) -> Score:
        """The score whose ranking is the advice."""
        for score in self.scores:
            if score.name == self.default_score:
                return score
        raise Absent("there is no advice")

    def gain(self, model: str) -> float:
        """Share of the base model's error that a model takes away."""
        base = self.error("base").mean
        return 1.0 - self.error(model).mean / base if base > 0 else float("nan")

    def paired_gain(self, model: str) -> Value | None:
        """`gain` run by run: mean and spread; None where it was not recorded."""
        return self.gains.get(model)

    def regret(self, layer: str, metric: str = "error") -> float:
        """By how much more error than the best layer's one pays for re-training `layer`."""
        values = [self.metric(name, metric).mean for name in self.layers]
        return self.metric(layer, metric).mean / min(values) - 1.0


def find(results: Results) -> Findings:
    """The findings of a case. Absent if there is no evaluation."""
    evaluation = results.text("evaluation")
    target = {
        model: _values(systems["target"])
        for model, systems in evaluation.get("models", {}).items()
        if "target" in systems
    }
    home = evaluation.get("models", {}).get("base", {}).get("base", {})
    advice = results.texts.get("advice", {})
    cards = evaluation.get("score_card", {})
    scores = [
        Score(name, tuple(score["ranking"]), cards.get(name, {}))
        for name, score in advice.get("scores", {}).items()
    ]
    return Findings(
        target,
        _values(home).get("error"),
        tuple(scores),
        advice.get("default_score", ""),
        advice.get("reason", ""),
        tuple(sorted(name for name in target if re.fullmatch(r"l\d\d", name))),
        _values(evaluation.get("error_removed", {})),
        evaluation.get("controls", {}),
    )


def _values(metrics: Mapping[str, Any]) -> dict[str, Value]:
    return {name: Value(float(m["mean"]), _spread(m)) for name, m in metrics.items()}


def _spread(metric: Mapping[str, Any]) -> float:
    """Half the range of the test members' means; 0 for one member."""
    low, high = metric["low"], metric["high"]
    return 0.0 if low is None else float(high - low) / 2.0
