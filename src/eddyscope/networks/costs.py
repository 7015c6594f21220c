"""What a network costs, counted from its module on torch's meta device: nothing is computed."""

from __future__ import annotations

from functools import cache

from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels, NetworkSettings

__all__ = ["CORE_RATE", "forward_flops", "layer_parameters", "total_parameters", "training_flops"]

CORE_RATE = 40e9
"""Floating-point operations a second of one CPU core, for estimates (measured: 40 to 100e9)."""

BACKWARD = 2.0
"""A backward pass over a forward one: products with weights and with inputs."""


@cache
def layer_parameters(
    settings: NetworkSettings, channels: Channels, n: int | None = None
) -> dict[str, int]:
    """Numbers that each layer has to train."""
    import torch

    with torch.device("meta"):
        layers = build(settings, channels, None, n).layers
    return {name: sum(p.numel() for p in layer.parameters()) for name, layer in layers.items()}


@cache
def total_parameters(settings: NetworkSettings, channels: Channels, n: int | None = None) -> int:
    """All numbers of the network."""
    import torch

    with torch.device("meta"):
        module = build(settings, channels, None, n).module
    return sum(p.numel() for p in module.parameters())


@cache
def forward_flops(settings: NetworkSettings, channels: Channels, n: int) -> float:
    """Floating-point operations of a forward pass of one sample on n × n points: a product
    and a sum each count as one; what is not a product with weights is left out."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        model = build(settings, channels, None, n)
        x = torch.empty(1, len(channels.inputs), n, n)
        with FlopCounterMode(display=False) as counter:
            model(x)
    return float(counter.get_total_flops())


def training_flops(settings: NetworkSettings, channels: Channels, n: int) -> float:
    """Operations of one sample's forward and backward pass."""
    return (1.0 + BACKWARD) * forward_flops(settings, channels, n)
