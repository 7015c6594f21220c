"""Layers of any module: which there are, and what is known of a kind of layer. Uses torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.networks.periodic import PeriodicConv2d
from eddyscope.networks.settings import numbered

__all__ = [
    "AFFINE",
    "TRANSPOSED",
    "FoundLayers",
    "evaluating",
    "find_layers",
    "is_affine",
    "named_layers",
    "output_channels",
    "output_factors",
    "sharing",
]

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Convolutions whose weights have the inputs first."""

AFFINE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, PeriodicConv2d, *TRANSPOSED, nn.Linear)
"""Kinds of layers that are found by themselves: linear in their parameters and, but for a bias,
in their input."""


@dataclass(frozen=True)
class FoundLayers:
    """The layers of a module."""

    layers: Mapping[str, nn.Module]
    """l01, l02, … in the order in which a forward pass meets them; of submodules that share
    weights the first that is met stands for all."""
    left_out: Mapping[str, str]
    """Full name of a submodule that is none, though it has weights of its own -> why."""


def find_layers(module: nn.Module, x: Tensor) -> FoundLayers:
    """The convolutions, transposed convolutions and linear layers that `module` meets when it is
    given `x`. Raises whatever the module raises."""
    paths = {submodule: path for path, submodule in module.named_modules()}
    kinds = [submodule for submodule in paths if isinstance(submodule, AFFINE)]
    met = _met(module, x, kinds)
    layers: list[nn.Module] = []
    taken: set[int] = set()
    for layer in met:
        own = {id(parameter) for parameter in layer.parameters()}
        if not own & taken and _can_be_trained(layer):
            layers.append(layer)
        taken |= own
    left_out = {
        paths[layer]: "the network keeps its weights fixed"
        for layer in met
        if not _can_be_trained(layer)
    }
    for layer in kinds:
        if layer not in met and not {id(parameter) for parameter in layer.parameters()} & taken:
            left_out[paths[layer]] = "a forward pass never calls it"
    return FoundLayers(dict(zip(numbered(len(layers)), layers, strict=True)), left_out)


def named_layers(
    module: nn.Module, x: Tensor, names: Mapping[str, str], where: str = "network.layers"
) -> FoundLayers:
    """The submodules of `module` that a user names as layers: l01, … -> full name; where: what
    names them, for messages.

    Raises CaseError for one that there is not, has no weights to train, shares some with another,
    is not called with `x`, or gives something else than one tensor.
    """
    found = dict(module.named_modules())
    layers: dict[str, nn.Module] = {}
    owner: dict[int, str] = {}
    for name, path in names.items():
        if path not in found or not path:
            hint = did_you_mean(path, [known for known in found if known])
            raise CaseError(
                f"{where} names {path!r}, which is no submodule of the network"
                + (f"; {hint}" if hint else f"; it has {', '.join([*found][1:9])}, …")
            )
        layers[name] = found[path]
        if not _can_be_trained(layers[name]):
            raise CaseError(f"{where} names {path!r}, which has no weights to train")
        for parameter in layers[name].parameters():
            if id(parameter) in owner:
                raise CaseError(
                    f"{where} names {owner[id(parameter)]!r} and {path!r}, which share "
                    "weights: name one of them alone"
                )
        owner |= {id(parameter): path for parameter in layers[name].parameters()}
    met = _met(module, x, list(layers.values()))
    for name, layer in layers.items():
        if layer not in met:
            raise CaseError(
                f"{where} names {names[name]!r}, which a forward pass never calls, or of "
                "which it gets something else than one tensor; name another"
            )
    return FoundLayers(layers, {})


def is_affine(layer: nn.Module) -> bool:
    """Whether a layer is linear in its parameters, a weight and perhaps a bias, and just that:
    no subclass, whose forward may be any, and no weight that is computed from others."""
    hooked = layer._forward_pre_hooks or layer._forward_hooks
    return type(layer) in AFFINE and not hooked


def output_factors(layer: nn.Module, parameter: str, gains: Tensor) -> Tensor:
    """What to multiply a parameter ("weight" or "bias") of an affine layer by, so that each
    channel that the layer gives is multiplied by its gain.

    gains: (output channel,). The shape is one that broadcasts to the parameter's.
    """
    if parameter == "bias":
        return gains
    weight = layer.get_parameter("weight")
    beyond = [1] * (weight.dim() - 2)
    if not isinstance(layer, TRANSPOSED):
        return gains.reshape(-1, 1, *beyond)
    groups = int(
        layer.groups
    )  # of transposed ones the weight has axes (input, output of a group, …)
    by_group = gains.reshape(groups, -1).repeat_interleave(len(weight) // groups, dim=0)
    return by_group.reshape(*by_group.shape, *beyond)


def output_channels(layer: nn.Module) -> int:
    """Channels that an affine layer gives."""
    assert isinstance(layer, AFFINE)
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def sharing(module: nn.Module, layer: nn.Module) -> list[nn.Module]:
    """The submodules of `module` at work where `layer` is: itself, and layers of the kinds above
    that share a parameter with it."""
    own = {id(parameter) for parameter in layer.parameters()}
    inside = set(layer.modules())

    def shares(other: nn.Module) -> bool:
        return any(id(parameter) in own for parameter in other.parameters())

    others = (m for m in module.modules() if isinstance(m, AFFINE) and m not in inside)
    return [layer, *(other for other in others if shares(other))]


def _can_be_trained(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters())


def _met(module: nn.Module, x: Tensor, watched: Sequence[nn.Module]) -> list[nn.Module]:
    """Those of the submodules that a forward pass calls and that give a tensor, in its order."""
    met: list[nn.Module] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if layer not in met and isinstance(output, Tensor) and isinstance(inputs[0], Tensor):
            met.append(layer)

    handles = [layer.register_forward_hook(note) for layer in watched]
    try:
        with evaluating(module), torch.no_grad():
            module(x)
    finally:
        for handle in handles:
            handle.remove()
    return met


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Let a module compute as after its training; its parts go on afterwards as they were."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
