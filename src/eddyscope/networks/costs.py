"""What a network costs, counted from its module."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from eddyscope.config.errors import CaseError
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels, NetworkSettings

if TYPE_CHECKING:
    from eddyscope.networks.base import LayeredModel

__all__ = ["CORE_RATE", "forward_flops", "layer_parameters", "total_parameters", "training_flops"]

CORE_RATE = 40e9
"""Floating-point operations a second of one CPU core, for estimates (measured: 40 to 100e9)."""

AT_ONCE = 1e9
"""Weights times points up to which a forward pass is just computed, which takes less time than what
torch's meta device imports."""

BACKWARD = 2.0
"""A backward pass over a forward one: products with weights and with inputs."""


@cache
def layer_parameters(
    settings: NetworkSettings, channels: Channels, n: int | None = None
) -> dict[str, int]:
    """Numbers that each layer has to train."""
    model = _cheap(settings, channels, n)
    return {
        name: sum(p.numel() for p in model.parameters_of(name).values()) for name in model.layers
    }


@cache
def total_parameters(settings: NetworkSettings, channels: Channels, n: int | None = None) -> int:
    """All numbers of the network."""
    return sum(p.numel() for p in _cheap(settings, channels, n).module.parameters())


@cache
def forward_flops(settings: NetworkSettings, channels: Channels, n: int) -> float:
    """Floating-point operations of a forward pass of one sample on n × n points: a product
    and a sum each count as one; what is not a product with weights is left out."""
    import torch

    from eddyscope.networks.products import counted

    points, weights = n * n, total_parameters(settings, channels, n)
    small = weights * points < AT_ONCE
    model = build(settings, channels, None, n) if small else _cheap(settings, channels, n)
    model.module.eval()
    with model.device:
        x = torch.zeros(1, len(channels.inputs), n, n)
    return counted(model, x)


def _cheap(settings: NetworkSettings, channels: Channels, n: int | None) -> LayeredModel:
    """The network without values, on torch's meta device, where it can be made there."""
    import torch

    try:
        with torch.device("meta"):
            return build(settings, channels, None, n)
    except CaseError:  # not every user's module can be: on the CPU it costs a forward pass
        return build(settings, channels, None, n)


def training_flops(settings: NetworkSettings, channels: Channels, n: int) -> float:
    """Operations of one sample's forward and backward pass."""
    return (1.0 + BACKWARD) * forward_flops(settings, channels, n)
