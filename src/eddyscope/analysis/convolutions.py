"""The convolutions among a network's layers: their kernels, and the grids they work on."""

from __future__ import annotations

import torch
from torch import nn

from eddyscope.config.arrays import RealArray
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.layers import TRANSPOSED, evaluating
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels, NetworkSettings

__all__ = ["CONVOLUTIONS", "grids_of", "kernel_count", "kernels_in", "kernels_of", "left_out"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
"""Kinds of layers that have kernels."""


def kernels_in(layer: nn.Module) -> RealArray:
    """Kernels (out, in, …) of a convolution of any number of dimensions, holes of a dilated one
    filled with zeros; `in` counts the channels of a group. A transposed one is the adjoint of a
    convolution: its kernels are that one's turned round, from its outputs to its inputs."""
    assert isinstance(layer, CONVOLUTIONS)
    weight = layer.weight.detach().cpu()
    if weight.dtype in (torch.float16, torch.bfloat16):
        weight = weight.float()
    if isinstance(layer, TRANSPOSED):
        # (in, out of a group, …) -> (group, in of it, out of it, …) -> (out, in of a group, …)
        grouped = weight.reshape(layer.groups, -1, *weight.shape[1:]).transpose(1, 2)
        weight = grouped.reshape(-1, *grouped.shape[2:]).flip(list(range(2, weight.dim())))
    sides = [
        (side - 1) * step + 1 for side, step in zip(weight.shape[2:], layer.dilation, strict=True)
    ]
    filled = torch.zeros(*weight.shape[:2], *sides, dtype=weight.dtype)
    holes = tuple(slice(None, None, step) for step in layer.dilation)
    filled[(slice(None), slice(None), *holes)] = weight
    kernels: RealArray = filled.numpy()
    return kernels


def kernels_of(model: LayeredModel) -> dict[str, RealArray]:
    """Layer -> kernels (out, in, row, column), holes of a dilated one filled with zeros.

    Of the layers that are two-dimensional convolutions; `left_out` names the others. Where
    channels are in groups, `in` counts those of a group.
    """
    return {
        name: kernels_in(layer) for name, layer in model.layers.items() if _is_convolution(layer)
    }


def left_out(model: LayeredModel) -> dict[str, str]:
    """Layers whose kernels are not looked at, since they are no two-dimensional convolutions ->
    what they are."""
    others = {name: layer for name, layer in model.layers.items() if not _is_convolution(layer)}
    return {name: type(layer).__name__ for name, layer in others.items()}


def grids_of(model: LayeredModel, n: int) -> dict[str, int]:
    """Layer -> points a side of what it is given where the network works on n × n points."""
    first = next(iter(model.module.parameters()))
    x = torch.zeros(1, len(model.channels.inputs), n, n, dtype=first.dtype, device=first.device)
    with torch.no_grad(), evaluating(model.module):
        return {call.name: call.input.shape[-1] for call in model.recorded(x)}


def kernel_count(settings: NetworkSettings, channels: Channels, n: int | None = None) -> int:
    """Kernels of all convolutions of a network."""
    # Not on torch's meta device, which takes a second to load.
    layers = build(settings, channels, None, n).layers.values()
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Conv2d)]
    return sum(weight[..., 0, 0].numel() for weight in weights)


def _is_convolution(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d)
