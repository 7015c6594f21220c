"""Parts that networks are made of. Arrays have axes (sample, channel, y, x). Uses torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from eddyscope.config.streams import integer_seed
from eddyscope.networks.periodic import PeriodicConv2d, wrapped

__all__ = [
    "BEFORE_RELU",
    "Beside",
    "PeriodicUpsample",
    "chain",
    "convolution",
    "draw_weights",
]

BEFORE_RELU = 2.0
"""Factor of the variance of weights before a ReLU, which halves the mean square."""


def convolution(inputs: int, outputs: int, size: int, padding: str = "circular") -> nn.Conv2d:
    """A convolution that keeps the grid, on torch's default device, its weights not set."""
    periodic, device = padding == "circular", torch.get_default_device()
    made: dict[str, object] = {} if periodic else {"padding": size // 2, "padding_mode": padding}
    # skip_init: torch's own initialisation would advance the global generator.
    layer = nn.utils.skip_init(
        PeriodicConv2d if periodic else nn.Conv2d, inputs, outputs, size, device=device, **made
    )
    return cast(nn.Conv2d, layer)


def chain(steps: Mapping[str, nn.Module]) -> nn.Sequential:
    """One step after the other, under their names."""
    return nn.Sequential(OrderedDict(steps))


@torch.no_grad()
def draw_weights(
    layers: Mapping[str, nn.Module], key: Sequence[int], factors: Mapping[str, float]
) -> None:
    """Draw all weights anew and set the biases to zero.

    Weights are uniform with variance factor / (inputs a point), so that what a layer gives has
    `factors[name]` times the mean square of what it is given (He et al. 2015: BEFORE_RELU where
    a ReLU follows, 1 where nothing does). Each layer has its own stream, so its weights do not
    depend on the other layers.
    """
    for number, (name, layer) in enumerate(layers.items(), start=1):
        weight, bias = cast(Tensor, layer.weight), cast(Tensor, layer.bias)
        bound = (3.0 * factors[name] / weight[0].numel()) ** 0.5
        generator = torch.Generator().manual_seed(integer_seed("weights", *key, number))
        drawn = torch.rand(weight.shape, generator=generator)
        weight.copy_((2.0 * drawn - 1.0) * bound)
        bias.zero_()


class Beside(nn.Module):
    """x -> [x, inner(x)], channels of one after those of the other: a skip connection."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.inner(x)], dim=1)


class PeriodicUpsample(nn.Module):
    """Twice the points a side; bilinear weights wrap around the periodic box."""

    def __init__(self, mode: str):
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "nearest":
            return nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        fine = nn.functional.interpolate(
            wrapped(x, 1), scale_factor=2, mode="bilinear", align_corners=False
        )
        return fine[..., 2:-2, 2:-2]
