"""Networks by the names that case files use. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from eddyscope.config.registry import Registry
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.parts import Parts
from eddyscope.networks.settings import Channels, NetworkSettings
from eddyscope.networks.unet import Unet
from eddyscope.networks.user import User

if TYPE_CHECKING:
    from eddyscope.networks.base import LayeredModel

__all__ = ["NETWORKS", "Network", "build", "check_grid", "layer_names", "redrawn"]


class Network(Protocol):
    """An architecture, made from its settings; torch is met in `module` alone if possible.

    It maps (sample, input channel, y, x) to (sample, output channel, y, x) on the same grid.
    What joins its layers, what follows the last one and how weights are drawn are its own affair.
    """

    settings: Any

    def check(self, n: int) -> None:
        """Raise CaseError unless the network works on n × n points."""

    def layer_names(self, channels: Channels, n: int | None) -> list[str]:
        """l01, l02, …: the layers that can be re-trained, in the order of a forward pass."""

    def module(self, channels: Channels, n: int | None, key: Sequence[int] | None) -> Parts:
        """The module on torch's default device, and its layers. Raises CaseError.

        n: points a side of the grid; key: all that random weights are drawn from; without one
        they need not be set.
        """


NETWORKS: Registry[Network] = Registry("network", {"cnn": Cnn, "unet": Unet, "user": User})


def check_grid(settings: NetworkSettings, n: int) -> None:
    """Raise CaseError unless the network that `settings` describe works on n × n points."""
    NETWORKS.build(settings).check(n)


@cache
def _layer_names(settings: NetworkSettings, channels: Channels, n: int | None) -> tuple[str, ...]:
    return tuple(NETWORKS.build(settings).layer_names(channels, n))


def layer_names(settings: NetworkSettings, channels: Channels, n: int | None = None) -> list[str]:
    """Names of the layers of the network that `settings` describe, first to last.

    n: points a side of its grid; by default `settings.n`. CaseError where they cannot be told.
    """
    return list(_layer_names(settings, channels, n or settings.n))


def build(
    settings: NetworkSettings,
    channels: Channels,
    key: Sequence[int] | None,
    n: int | None = None,
) -> LayeredModel:
    """The network as training begins with it; without a key its weights are not set.

    key: all that random weights are drawn from. n: points a side of its grid; by default
    `settings.n`. Not collective. Raises CaseError where a user's network cannot be made.
    """
    from eddyscope.networks.base import LayeredModel

    n = n or settings.n
    made = NETWORKS.build(settings).module(channels, n, key)
    return LayeredModel(
        made.module, made.layers, settings, channels, n, made.left_out, made.channels_last
    )


def redrawn(model: LayeredModel, key: Sequence[int]) -> LayeredModel:
    """A network like `model`, all of its weights random, drawn from `key` alone. Not collective."""
    settings = model.settings.with_random_weights()
    return model.of(build(settings, model.channels, key, model.n).module)
