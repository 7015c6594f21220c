"""Networks by the names that case files use. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from eddyscope.config.registry import Registry
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.settings import Channels, NetworkSettings
from eddyscope.networks.unet import Unet

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["NETWORKS", "Network", "build", "check_grid", "layer_names"]


class Network(Protocol):
    """An architecture: made from its settings, torch is met in `module` alone.

    What adaptations rest on: a layer's first parameter is its weight, axes (output channel, …),
    what it gives is linear in its parameters, and what the last layer gives is the network's
    output. `build` draws weights as for a ReLU after every layer but the last.
    """

    settings: Any

    @property
    def layer_names(self) -> list[str]:
        """l01, l02, …: the layers that can be re-trained, in the order of a forward pass."""

    def check(self, n: int) -> None:
        """Raise CaseError unless the network works on n × n points."""

    def module(self, channels: Channels) -> tuple[nn.Module, dict[str, nn.Module]]:
        """The module on torch's default device, its weights not yet set, and its layers."""


NETWORKS: Registry[Network] = Registry("network", {"cnn": Cnn, "unet": Unet})


def layer_names(settings: NetworkSettings) -> list[str]:
    """Names of the layers of the network that `settings` describe, first to last."""
    return NETWORKS.build(settings).layer_names


def check_grid(settings: NetworkSettings, n: int) -> None:
    """Raise CaseError unless the network that `settings` describe works on n × n points."""
    NETWORKS.build(settings).check(n)


def build(settings: NetworkSettings, channels: Channels, key: Sequence[int] | None) -> LayeredModel:
    """The network, weights drawn from `key` alone; without a key they are not set."""
    from eddyscope.networks.base import LayeredModel
    from eddyscope.networks.blocks import draw_weights

    module, layers = NETWORKS.build(settings).module(channels)
    if key is not None:
        draw_weights(layers, key)
    return LayeredModel(module, layers, settings, channels)
