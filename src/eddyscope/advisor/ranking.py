"""Rankings of the layers of a base network by scores, before any of them is re-trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from eddyscope.advisor.scores.base import Curve, Evidence, LayerScore, Score
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

    @property
    def promises_nothing(self) -> bool:
        """Whether no layer has a value that promises anything."""
        return not any(value > self.least for value in self.values.values())

    @property
    def groups(self) -> list[list[str]]:
        """Layers in groups that the score does not tell apart, the best first: of equal values, or
        of values that promise nothing. Those for which it is not defined come last. In a group, the
        order of the network."""
        known = [name for name in self.values if math.isfinite(self.values[name])]
        unknown = [name for name in self.values if name not in known]
        margin = SAME * max((abs(self.values[name]) for name in known), default=0.0)
        groups: list[list[str]] = []
        last = math.inf
        for name in sorted(known, key=lambda name: -self.values[name]):
            if groups and (last - self.values[name] <= margin or last <= self.least):
                groups[-1].append(name)
            else:
                groups.append([name])
            last = self.values[name]
        in_order = [[name for name in self.values if name in group] for group in groups]
        return in_order + ([unknown] if unknown else [])

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
    rankings: dict[str, Ranking] = {}
    for name, score in scores.items():
        say(name)

        def timed(layer: str, score: Score = score) -> tuple[LayerScore, float]:
            began = time.perf_counter()
            found = score.of_layer(frozen, evidence, layer)
            return found, time.perf_counter() - began

        rankings[name] = _ranking(list(model.layers), map_in_order(world, timed, [*model.layers]))
        rankings[name] = replace(rankings[name], least=score.least)
    return rankings


def _ranking(layers: Sequence[str], found: Sequence[tuple[LayerScore, float]]) -> Ranking:
    return Ranking(
        values={layer: score.value for layer, (score, _) in zip(layers, found, strict=True)},
        seconds=sum(seconds for _, seconds in found),
        curves={layer: score.curves for layer, (score, _) in zip(layers, found, strict=True)},
    )
