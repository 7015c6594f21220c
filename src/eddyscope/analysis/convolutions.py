"""The convolutions among a network's layers: their kernels, and the grids they work on."""

from __future__ import annotations

import torch
from torch import nn

from eddyscope.config.arrays import RealArray
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.layers import evaluating
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels, NetworkSettings

__all__ = ["grids_of", "kernel_count", "kernels_of", "left_out"]


def kernels_of(model: LayeredModel) -> dict[str, RealArray]:
    """Layer -> kernels (out, in, row, column), holes of a dilated one filled with zeros.

    Of the layers that are two-dimensional convolutions; `left_out` names the others. Where
    channels are in groups, `in` counts those of a group.
    """
    return {
        name: _without_holes(layer)
        for name, layer in model.layers.items()
        if _is_convolution(layer)
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


def _without_holes(layer: nn.Module) -> RealArray:
    assert isinstance(layer, nn.Conv2d)
    weight = layer.weight.detach().cpu()
    if weight.dtype in (torch.float16, torch.bfloat16):
        weight = weight.float()
    weights: RealArray = weight.numpy()
    dilation = layer.dilation
    if dilation == (1, 1):
        return weights
    *kernels, rows, columns = weights.shape
    sides = [(side - 1) * step + 1 for side, step in zip((rows, columns), dilation, strict=True)]
    filled = torch.zeros(*kernels, *sides, dtype=weight.dtype)
    filled[..., :: dilation[0], :: dilation[1]] = weight
    return filled.numpy()
