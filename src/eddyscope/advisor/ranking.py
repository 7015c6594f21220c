"""Scores that rank the layers of a base network before any of them is re-trained.

A score looks at a few target samples and gives each layer a number, the more the better.
One function and one line of SCORES add one.

    relative_gradient   ‖∂L/∂θ_l‖ / ‖θ_l‖, L the target loss of the base network (Auto-RGN;
                        Lee et al. 2023): which layer would move most, for its size
    linearised_gain     the share of the target error that a small change of layer l can
                        remove on samples it was not fitted to (`eddyscope.advisor.linearised`)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eddyscope.advisor.linearised import linearised_gain
from eddyscope.advisor.settings import AdviseSettings
from eddyscope.learning.batches import Samples
from eddyscope.networks.closure_network import ClosureNetwork
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World

__all__ = ["SCORES", "Finding", "Ranking", "rank_layers"]

Finding = tuple[float, dict[str, NDArray[np.float64]]]
"""A layer's score, and curves that explain it (name -> values)."""

Score = Callable[[ClosureNetwork, Samples, str, AdviseSettings], Finding]


@dataclass(frozen=True)
class Ranking:
    """What one score says of all layers."""

    values: dict[str, float]
    seconds: float
    """Of computing, all layers together, on one rank."""
    curves: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    """Layer -> name -> values."""

    @property
    def layers(self) -> list[str]:
        """Layers, the best first; of equals, the shallower first."""
        return sorted(self.values, key=lambda name: (-self.values[name], name))


def relative_gradient(
    network: ClosureNetwork, samples: Samples, name: str, settings: AdviseSettings
) -> Finding:
    """‖∂L/∂θ_l‖ / ‖θ_l‖ of layer `name`, θ_l its weights and biases together."""
    del settings
    parameters = list(network.layer(name).parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    output = network.output_from(
        name, network.input_of(name, samples.inputs), dict(network.layer(name).named_parameters())
    )
    loss = (output - samples.targets).square().mean()
    gradients = torch.autograd.grad(loss, parameters)
    return _norm(gradients) / _norm(parameters), {}


SCORES: dict[str, Score] = {
    "relative_gradient": relative_gradient,
    "linearised_gain": linearised_gain,
}
"""Name in `advise.scores` -> function."""


def rank_layers(
    network: ClosureNetwork,
    samples: Samples,
    settings: AdviseSettings,
    world: World,
    report: Callable[[str], Any] = lambda text: None,
) -> dict[str, Ranking]:
    """Every score of `settings.scores` over all layers, the layers dealt to ranks. Collective."""
    network.requires_grad_(False)
    # The faster layout for convolutions of few channels on CPUs.
    inputs = samples.inputs.contiguous(memory_format=torch.channels_last)
    samples = Samples(inputs, samples.targets)
    rankings: dict[str, Ranking] = {}
    for score in settings.scores:
        report(score)

        def timed(name: str, score: str = score) -> tuple[Finding, float]:
            began = time.perf_counter()
            finding = SCORES[score](network, samples, name, settings)
            network.requires_grad_(False)
            return finding, time.perf_counter() - began

        found = map_in_order(world, timed, network.names)
        rankings[score] = Ranking(
            values={n: value for n, ((value, _), _) in zip(network.names, found, strict=True)},
            seconds=sum(seconds for _, seconds in found),
            curves={n: curves for n, ((_, curves), _) in zip(network.names, found, strict=True)},
        )
    return rankings


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return float(
        torch.sqrt(sum((t.detach().double().square().sum() for t in tensors), torch.zeros(())))
    )
