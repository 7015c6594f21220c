"""Rankings of the layers of a base network by scores, before any of them is re-trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from eddyscope.advisor.scores.base import Curve, Evidence, LayerScore, Score
from eddyscope.advisor.start import start_of
from eddyscope.artefacts.uncertainty import tied
from eddyscope.config.arrays import FloatArray
from eddyscope.networks.base import LayeredModel
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World

__all__ = ["Ranking", "rank_layers"]

SAME = 1e-6
"""Values count as equal that differ by less than this share of the largest: networks compute in
single precision, so a smaller difference says nothing."""


@dataclass(frozen=True)
class Ranking:
    """What one score says of all layers."""

    values: Mapping[str, float]
    """Layer -> score, in the order of the network; NaN where the score is not defined."""
    seconds: float = 0.0
    """Of computing, all layers together, on one rank."""
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    """Layer -> name -> curve."""
    least: float = -math.inf
    """Up to here a value promises nothing, see `Score`."""
    parts: Mapping[str, FloatArray] = field(default_factory=dict)
    """Layer -> what each target sample says, (sample,); empty where that is not known."""

    @property
    def promises_nothing(self) -> bool:
        """Whether no layer has a value that promises anything."""
        return not any(value > self.least for value in self.values.values())

    @property
    def groups(self) -> list[list[str]]:
        """Layers in groups that the score does not tell apart, the best first: of equal values, of
        values that samples do not tell from the first of the group, or of values that promise
        nothing. Those for which it is not defined come last. In a group, the order of the network.
        """
        known = [name for name in self.values if math.isfinite(self.values[name])]
        unknown = [name for name in self.values if name not in known]
        margin = SAME * max((abs(self.values[name]) for name in known), default=0.0)
        groups: list[list[str]] = []
        last = math.inf
        for name in sorted(known, key=lambda name: -self.values[name]):
            same = last - self.values[name] <= margin or last <= self.least
            if groups and (same or self._tied(groups[-1][0], name)):
                groups[-1].append(name)
            else:
                groups.append([name])
            last = self.values[name]
        in_order = [[name for name in self.values if name in group] for group in groups]
        return in_order + ([unknown] if unknown else [])

    def _tied(self, first: str, name: str) -> bool:
        if not {first, name} <= self.parts.keys():
            return False
        return tied(self.parts[first][:, None], self.parts[name][:, None])

    @property
    def layers(self) -> list[str]:
        """Layers, the best first. The order within `ties` means nothing."""
        return [name for group in self.groups for name in group]

    @property
    def ties(self) -> list[list[str]]:
        """Groups of layers that the score does not tell apart, of two or more."""
        return [group for group in self.groups if len(group) > 1]


def rank_layers(
    model: LayeredModel,
    evidence: Evidence,
    scores: Mapping[str, Score],
    world: World,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Ranking]:
    """Every score over all layers, the layers dealt to ranks. Collective.

    scores: name -> score. The network stays as it is.
    """
    frozen = model.copy()
    frozen.module.requires_grad_(False).eval()
    started = 0.0
    if any(score.scales_first for score in scores.values()):
        began = time.perf_counter()
        evidence = replace(evidence, start=start_of(frozen, evidence.target))
        started = time.perf_counter() - began
    rankings: dict[str, Ranking] = {}
    for name, score in scores.items():
        say(name)

        def timed(layer: str, score: Score = score) -> tuple[LayerScore, float]:
            began = time.perf_counter()
            with torch.inference_mode(False), torch.enable_grad():
                found = score.of_layer(frozen, evidence, layer)
            return found, time.perf_counter() - began

        found = map_in_order(world, timed, [*model.layers])
        before = started if score.scales_first else 0.0
        rankings[name] = _ranking(list(model.layers), found, score.least, before)
    return rankings


def _ranking(
    layers: Sequence[str],
    found: Sequence[tuple[LayerScore, float]],
    least: float,
    before: float,
) -> Ranking:
    """before: seconds of what all layers share."""
    each = {layer: score for layer, (score, _) in zip(layers, found, strict=True)}
    return Ranking(
        values={layer: score.value for layer, score in each.items()},
        seconds=before + sum(seconds for _, seconds in found),
        curves={layer: score.curves for layer, score in each.items()},
        least=least,
        parts={layer: score.parts for layer, score in each.items() if len(score.parts)},
    )
