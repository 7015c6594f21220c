"""Where re-training a layer begins: the base network between the three scales that fit best.

min over g, a of ‖a f(g x) − y‖² on the target samples (`learning/adaptations/three_scales.py`).
What a layer gains beyond that it has learnt; scores that look from here do not mistake for it how
easily a layer puts sizes right. Uses torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eddyscope.learning.adaptations.scaled import Scaled, fit_inputs
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel

__all__ = ["Start", "start_of"]

BATCH = 16
"""Samples a forward pass."""


@dataclass(frozen=True)
class Start:
    """The target samples as the base network sees them between its three scales."""

    samples: Samples
    """Inputs times g; targets over a, or as they are where a is 0."""
    weights: Tensor
    """Factor of the squares of an output's error, (output channel, 1, 1): their sum over channels,
    and mean over samples and points, is an error over the mean square of the targets."""
    errors: Tensor
    """Error of each sample, (sample,), in these units; their mean is the floor that counts."""
    untouched: float
    """Error of the base network without scales, in these units."""
    scales: Mapping[str, float]

    @property
    def floor(self) -> float:
        """Error between the three scales, over the mean square of the targets."""
        return float(self.errors.mean())

    def error(self, output: Tensor, places: Tensor) -> Tensor:
        """Error of each sample of `places`, (sample,), of the network's output for them."""
        return _errors(output, self.samples.targets[places], self.weights)

    def errors_of(self, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Error of each sample, (sample,), of a network that is called with places of samples."""
        with torch.no_grad():
            places = torch.arange(len(self.samples), device=self.errors.device).split(BATCH)
            return torch.cat([self.error(network(part), part) for part in places])


def start_of(model: LayeredModel, samples: Samples) -> Start:
    """Fit the three scales. Not collective, deterministic; targets of 0 leave all as it is."""
    module = Scaled(model, inputs=True, each_output=True)
    fit_inputs(module, samples, BATCH, rough=True)
    given, gives = module.inputs, module.outputs.detach().to(samples.targets)
    assert given is not None
    whole = samples.targets.double().square().mean().to(samples.targets)
    power = float(whole) * samples.targets.shape[1] or 1.0
    used = torch.where(gives != 0.0, gives, torch.ones_like(gives))
    scaled = Samples(samples.inputs * given.detach().to(samples.inputs), samples.targets / used)
    with torch.inference_mode():
        before, after = (
            torch.cat([model(part) for part in inputs.split(BATCH)])
            for inputs in (samples.inputs, scaled.inputs)
        )
    plain = torch.ones_like(used) / power
    weights = used.square() / power
    return Start(
        scaled,
        weights,
        _errors(after.clone(), scaled.targets, weights),
        float(_errors(before, samples.targets, plain).mean()),
        module.scales,
    )


def _errors(output: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return ((output - targets).square() * weights).sum(dim=1).mean(dim=(1, 2))
