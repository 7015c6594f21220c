"""Modules of adaptations that are not networks of the base model's architecture. Uses torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from eddyscope.config.streams import integer_seed
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.layers import evaluating
from eddyscope.networks.state import scale_output, state_of

__all__ = [
    "Replaced",
    "frozen_but",
    "own_names",
    "some_trained",
    "uniform",
    "with_scales",
]

Rule = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]
"""(the base's tensors by full name, what is trained by name) -> tensors in place of some."""


def frozen_but(base: LayeredModel, layers: Iterable[str]) -> LayeredModel:
    """A copy of `base` of which only `layers` are trained.

    All else stays as it is, running statistics and the like too: it computes as after training.
    """
    network = base.copy()
    network.module.requires_grad_(False).eval()
    for name in layers:
        for part in network.modules_of(name):
            part.train()
        as_made = base.parameters_of(name)
        for key, parameter in network.parameters_of(name).items():
            parameter.requires_grad_(as_made[key].requires_grad)
    return network


def some_trained(module: nn.Module, count: int, key: Sequence[int]) -> None:
    """Let only `count` of the weights of `module` that require gradients have any, drawn from
    `key`: Adam does not move what never has a gradient."""
    trained = [p for p in module.parameters() if p.requires_grad]
    whole = sum(p.numel() for p in trained)
    generator = torch.Generator().manual_seed(integer_seed("adaptation", *key))
    chosen = torch.zeros(whole)
    chosen[torch.randperm(whole, generator=generator)[:count]] = 1.0
    parts = chosen.split([p.numel() for p in trained])
    for parameter, part in zip(trained, parts, strict=True):
        parameter.register_hook(_masked(part.reshape(parameter.shape)))


def _masked(mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * mask.to(gradient.device)


class Replaced(nn.Module):
    """A frozen network some of whose tensors are computed from trained ones.

    What is trained acts on parameters and scales, not on activations, so that folding is exact.
    """

    def __init__(self, base: LayeredModel, trained: Mapping[str, nn.Parameter], rule: Rule):
        super().__init__()
        self.network = frozen_but(base, [])
        self.base = self.network.module
        self.trained = nn.ParameterDict(trained)
        self._rule = rule

    def tensors_in_place(self) -> dict[str, Tensor]:
        """The replaced tensors, by their full names in the base."""
        return self._rule(state_of(self.base), dict(self.trained.items()))

    def forward(self, x: Tensor) -> Tensor:
        replaced = self.tensors_in_place()
        return cast(Tensor, torch.func.functional_call(self.base, replaced, (x,)))

    @torch.no_grad()
    def folded(self) -> LayeredModel:
        """A plain network with the replaced tensors as its own."""
        network = self.network.copy()
        own = state_of(network.module)
        for name, value in self.tensors_in_place().items():
            own[name].copy_(value)
        return network


def own_names(base: LayeredModel, layer: str) -> dict[str, str]:
    """Full name of each parameter of a layer's first submodule -> its name there."""
    full_names = {id(parameter): name for name, parameter in base.parameters_of(layer).items()}
    own = base.layers[layer].named_parameters()
    return {full_names[id(parameter)]: name for name, parameter in own}


@torch.no_grad()
def with_scales(base: LayeredModel, layers: Sequence[str]) -> tuple[LayeredModel, dict[str, int]]:
    """A copy of `base` in which what `layers` give has scales of 1, one a channel (axis 1); and
    the number of channels of each."""
    network, channels = base.copy(), dict[str, int]()
    if not layers:
        return network, channels
    assert base.n is not None
    example = torch.zeros(1, len(base.channels.inputs), base.n, base.n)
    with evaluating(base.module):
        shapes = {call.name: call.output.shape[1:] for call in base.recorded(example)}
    for name in layers:
        first, *points = shapes[name]
        channels[name] = int(first)
        scale_output(network.layers[name], torch.ones(first, *[1] * len(points)))
    return network, channels


def uniform(shape: tuple[int, int], key: Sequence[int] | None) -> nn.Parameter:
    """A matrix drawn uniformly with variance 1 / columns from `key`; zeros without a key."""
    if key is None:
        return nn.Parameter(torch.zeros(shape))
    generator = torch.Generator().manual_seed(integer_seed("adaptation", *key))
    drawn = torch.rand(shape, generator=generator)
    return nn.Parameter((2.0 * drawn - 1.0) * (3.0 / shape[1]) ** 0.5)
