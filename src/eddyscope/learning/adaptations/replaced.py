"""Modules of adaptations that are not networks of the base model's architecture. Uses torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from eddyscope.config.streams import integer_seed
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.state import scale_output

__all__ = ["Replaced", "ScaledOutput", "best_factor", "uniform"]

ROUNDING = 1e-5
"""Of single precision, in units of the largest value of a field."""

Rule = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]
"""(the base's parameters by full name, what is trained by name) -> parameters in their place."""


class Replaced(nn.Module):
    """A frozen network some of whose parameters are computed from trained ones.

    What is trained acts on weights, not on activations, so that folding is exact.
    """

    def __init__(self, base: LayeredModel, trained: Mapping[str, nn.Parameter], rule: Rule):
        super().__init__()
        self.network = base.copy()
        self.base = self.network.module.requires_grad_(False)
        self.trained = nn.ParameterDict(trained)
        self._rule = rule

    def parameters_in_place(self) -> dict[str, Tensor]:
        """The replaced parameters, by their full names in the base."""
        return self._rule(dict(self.base.named_parameters()), dict(self.trained.items()))

    def forward(self, x: Tensor) -> Tensor:
        replaced = self.parameters_in_place()
        return cast(Tensor, torch.func.functional_call(self.base, replaced, (x,)))

    @torch.no_grad()
    def folded(self) -> LayeredModel:
        """A plain network with the replaced parameters as its own."""
        network = self.network.copy()
        own = dict(network.module.named_parameters())
        for name, value in self.parameters_in_place().items():
            own[name].copy_(value)
        return network


class ScaledOutput(nn.Module):
    """A frozen network times one factor."""

    def __init__(self, base: LayeredModel):
        super().__init__()
        self.base = base.copy()
        self.module = self.base.module.requires_grad_(False)
        self.factor = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.example: Tensor | None = None
        """A sample, (1, channel, y, x), on which folding is tried."""

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) * self.factor

    @torch.no_grad()
    def folded(self) -> LayeredModel:
        """The factor in the weights of the last layer, where its output is the network's, and
        else as a scale of the network."""
        assert self.example is not None
        in_layer = _last_layer_scaled(self.base, float(self.factor), self.example)
        if in_layer is not None:
            return in_layer
        network = self.base.copy()
        scale_output(network.module, self.factor.float())
        return network


def _last_layer_scaled(
    network: LayeredModel, factor: float, example: Tensor
) -> LayeredModel | None:
    """The network with its last layer's parameters times `factor`; None unless that multiplies
    what the network makes of `example`."""
    output, last = network(example), network.recorded(example)[-1]
    if not torch.equal(last.output, output):
        return None
    scaled = network.copy()
    for parameter in scaled.layers[last.name].parameters():
        parameter.mul_(factor)
    error = (scaled(example) - factor * output).abs().max()
    return scaled if error <= ROUNDING * (factor * output).abs().max() else None


def best_factor(network: LayeredModel, samples: Samples, batch_size: int) -> float:
    """The factor a that minimises ‖a f(x) - pi‖² over `samples`: ⟨f, pi⟩ / ⟨f, f⟩."""
    with_target = with_itself = 0.0
    with torch.inference_mode():
        for inputs, targets in zip(
            samples.inputs.split(batch_size), samples.targets.split(batch_size), strict=True
        ):
            output = network(inputs).double()
            with_target += float((output * targets).sum())
            with_itself += float(output.square().sum())
    return with_target / with_itself if with_itself > 0.0 else 0.0


def uniform(shape: tuple[int, int], key: Sequence[int] | None) -> nn.Parameter:
    """A matrix drawn uniformly with variance 1 / columns from `key`; zeros without a key."""
    if key is None:
        return nn.Parameter(torch.zeros(shape))
    generator = torch.Generator().manual_seed(integer_seed("adaptation", *key))
    drawn = torch.rand(shape, generator=generator)
    return nn.Parameter((2.0 * drawn - 1.0) * (3.0 / shape[1]) ** 0.5)
