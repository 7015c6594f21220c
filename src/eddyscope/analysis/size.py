"""How large an analysis becomes."""

from __future__ import annotations

from collections.abc import Sequence

from eddyscope.analysis.convolutions import kernel_count
from eddyscope.analysis.groups import MAP_SIDE, SHOWN
from eddyscope.artefacts.key import ModelKey
from eddyscope.networks.settings import Channels, NetworkSettings
from eddyscope.spectral.shells import shell_counts

__all__ = ["maps_fit", "size_of"]

MAP_BUDGET = 48 * 2**20
"""Bytes of maps up to which those of all kernels are stored."""

NUMBERS = 9
"""Kept of each kernel: what it looks like, and its changes."""


def size_of(
    network: NetworkSettings, channels: Channels, n: int, models: Sequence[ModelKey]
) -> int:
    """Bytes of analysis.h5, about; models: the re-trained ones."""
    kernels = kernel_count(network, channels, n)
    # Models of a single layer have one layer each, so together they count as one model.
    whole = sum(not key.is_single_layer for key in models)
    numbers = kernels * (2 * len(shell_counts(n)) + NUMBERS * (2 + whole))
    shown = len(models) * SHOWN * 2 * n * n
    return 4 * (numbers + shown) + (_map_bytes(kernels, n) if maps_fit(network, channels, n) else 0)


def maps_fit(network: NetworkSettings, channels: Channels, n: int) -> bool:
    """Whether maps of all kernels of base and single-layer models are stored."""
    return _map_bytes(kernel_count(network, channels, n), n) <= MAP_BUDGET


def _map_bytes(kernels: int, n: int) -> int:
    return 2 * kernels * 4 * min(n, MAP_SIDE) ** 2
