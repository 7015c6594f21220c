"""A network as a user would add it: each layer also sees what the layer before it was given.

h = tanh(W_1 * x),   y = W_3 * [h, tanh(W_2 * h)]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from eddyscope.networks.parts import Parts
from eddyscope.networks.settings import Channels, NetworkSettings, numbered

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Dense"]


class Dense:
    """Three convolutions of 3 × 3 points."""

    class Settings(NetworkSettings):
        """`[network]` of kind "dense"."""

        kind: Literal["dense"] = "dense"
        width: int = Field(default=4, ge=1)
        """Channels of the hidden layers."""

    def __init__(self, settings: Settings):
        self.settings = settings

    def layer_names(self, channels: Channels, n: int | None) -> list[str]:
        return numbered(3)

    def check(self, n: int) -> None:
        """Every grid will do."""

    def module(self, channels: Channels, n: int | None, key: Sequence[int] | None) -> Parts:
        from torch import nn

        from eddyscope.networks.blocks import Beside, chain, convolution, draw_weights

        width = self.settings.width
        layers: dict[str, nn.Module] = {
            "l01": convolution(len(channels.inputs), width, 3),
            "l02": convolution(width, width, 3),
            "l03": convolution(2 * width, len(channels.outputs), 3),
        }
        if key is not None:
            draw_weights(layers, key, dict.fromkeys(layers, 1.0))
        inner = chain({"l02": layers["l02"], "tanh": nn.Tanh()})
        steps = {"l01": layers["l01"], "tanh": nn.Tanh(), "both": Beside(inner)}
        return Parts(chain({**steps, "l03": layers["l03"]}), layers)
