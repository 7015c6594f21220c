"""What is re-trained of a base network. One class and one registry line an adaptation.

An adaptation makes a module with only its own parameters trainable (`module`), and turns
the trained module back into a network of the base's architecture (`folded`), so that
every model on the disk is of one kind.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import Samples
from eddyscope.networks.closure_network import ClosureNetwork

__all__ = ["ADAPTATIONS", "Adaptation", "adaptation_named", "best_scale", "scaled_output"]


class Adaptation(Protocol):
    """A way to re-train a base network."""

    def module(self, base: ClosureNetwork) -> nn.Module:
        """A copy of `base` in which only what is re-trained requires gradients."""

    def folded(self, module: nn.Module) -> ClosureNetwork:
        """The trained `module` as a plain network."""

    def retrained(self, base: ClosureNetwork) -> list[str]:
        """Names of the layers whose weights change."""


class Layers:
    """Weights and biases of the named layers; all others are kept."""

    def __init__(self, names: Sequence[str]):
        self.names = list(names)

    def module(self, base: ClosureNetwork) -> nn.Module:
        network = copy.deepcopy(base).requires_grad_(False)
        for name in self.names:
            network.layer(name).requires_grad_(True)
        return network

    def folded(self, module: nn.Module) -> ClosureNetwork:
        return cast(ClosureNetwork, module)

    def retrained(self, base: ClosureNetwork) -> list[str]:
        return self.names


class All:
    """Every layer, from the base model's weights."""

    def __init__(self, key: Sequence[int]):
        del key

    def module(self, base: ClosureNetwork) -> nn.Module:
        return copy.deepcopy(base).requires_grad_(True)

    def folded(self, module: nn.Module) -> ClosureNetwork:
        return cast(ClosureNetwork, module)

    def retrained(self, base: ClosureNetwork) -> list[str]:
        return base.names


class Scratch(All):
    """Every layer, from random weights drawn with `key`: what the base model is worth."""

    def __init__(self, key: Sequence[int]):
        self.key = key

    def module(self, base: ClosureNetwork) -> nn.Module:
        return ClosureNetwork(base.settings, self.key)


class Gain(All):
    """One factor an output channel of every layer: h -> s h. Tells rescaling from learning."""

    def module(self, base: ClosureNetwork) -> nn.Module:
        return GainNetwork(copy.deepcopy(base).requires_grad_(False))

    def folded(self, module: nn.Module) -> ClosureNetwork:
        assert isinstance(module, GainNetwork)
        network = copy.deepcopy(module.base)
        network.load_state_dict({name: t.detach() for name, t in module.scaled().items()})
        return network


class GainNetwork(nn.Module):
    """A frozen network whose weights and biases are multiplied by a trained factor a channel.

    The factors act on the weights, not on the activations, so that folding is exact.
    """

    def __init__(self, base: ClosureNetwork):
        super().__init__()
        self.base = base
        self.gains = nn.ParameterDict(
            {name: nn.Parameter(torch.ones(base.layer(name).out_channels)) for name in base.names}
        )

    def scaled(self) -> dict[str, Tensor]:
        """The base's parameters times their channels' factors, under the base's names."""
        result = {}
        for name, parameter in self.base.state_dict(keep_vars=True).items():
            gain = self.gains[name.partition(".")[0]]
            result[name] = parameter * gain.reshape(-1, *[1] * (parameter.dim() - 1))
        return result

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, torch.func.functional_call(self.base, self.scaled(), (x,)))


ADAPTATIONS: dict[str, type[All]] = {"gain": Gain, "all": All, "scratch": Scratch}
"""Name in case files -> class; names of layers, alone or joined by +, need no line here."""


def adaptation_named(name: str, names: Sequence[str], key: Sequence[int]) -> Adaptation:
    """The adaptation `name` of a network with layers `names`; `key` draws its random weights.

    Raises CaseError.
    """
    if name in ADAPTATIONS:
        return ADAPTATIONS[name](key)
    layers = name.split("+")
    unknown = [layer for layer in layers if layer not in names]
    if unknown:
        raise CaseError(
            f"{name!r}: nothing to re-train is called {unknown[0]!r}; allowed: {names[0]} … "
            f"{names[-1]}, alone or joined by +, and {', '.join(ADAPTATIONS)}"
        )
    return Layers(layers)


def best_scale(network: nn.Module, samples: Samples, batch_size: int) -> float:
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


def scaled_output(base: ClosureNetwork, factor: float) -> ClosureNetwork:
    """`base` with its output multiplied by `factor`, folded into the last layer."""
    network = copy.deepcopy(base)
    last = network.layer(base.names[-1])
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(factor)
    return network
