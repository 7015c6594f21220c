"""Convolutions with ReLU between them: the paper's network.

    h_1 = W_1 * x + b_1,   g_l = max(h_l, 0),   h_l = W_l * g_(l-1) + b_l,   y = h_depth

in normalised variables. `*` is the cross-correlation that deep-learning libraries call
convolution; with circular padding it is exact on the periodic box, so the network commutes
with shifts of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from eddyscope.config.errors import CaseError
from eddyscope.networks.parts import Parts
from eddyscope.networks.settings import Channels, NetworkSettings, numbered

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Cnn"]


class Cnn:
    """`depth` convolutions, each a layer."""

    class Settings(NetworkSettings):
        """`[network]` of kind "cnn": convolutions with ReLU between them."""

        kind: Literal["cnn"] = "cnn"
        depth: int = Field(default=11, ge=2, le=99)
        """Convolutions."""
        width: int = Field(default=64, ge=1, le=65536)
        """Channels of the hidden layers."""
        kernel_size: int = Field(default=5, ge=1)
        """Side of the kernels (odd)."""
        padding: Literal["circular", "zeros"] = "circular"
        """What lies beyond the edge; circular is exact on a periodic box."""

        @field_validator("kernel_size")
        @classmethod
        def _odd(cls, size: int) -> int:
            if size % 2 == 0:
                raise ValueError(f"must be odd; use {size - 1} or {size + 1}")
            return size

    def __init__(self, settings: Settings):
        self.settings = settings

    def layer_names(self, channels: Channels, n: int | None) -> list[str]:
        return numbered(self.settings.depth)

    def check(self, n: int) -> None:
        """Raise CaseError unless the network works on n × n points."""
        size = self.settings.kernel_size
        if size > n:
            raise CaseError(
                f"network.kernel_size = {size} is wider than the grid of {n} x {n} points; use "
                f"kernels of at most {n - 1 + n % 2}, or a finer filter.n"
            )

    def module(self, channels: Channels, n: int | None, key: Sequence[int] | None) -> Parts:
        from torch import nn

        from eddyscope.networks.blocks import BEFORE_RELU, chain, convolution, draw_weights

        settings, names = self.settings, self.layer_names(channels, n)
        hidden = [settings.width] * (settings.depth - 1)
        widths = [len(channels.inputs), *hidden, len(channels.outputs)]
        steps: dict[str, nn.Module] = {}
        layers: dict[str, nn.Module] = {}
        for name, inputs, outputs in zip(names, widths[:-1], widths[1:], strict=True):
            layers[name] = convolution(inputs, outputs, settings.kernel_size, settings.padding)
            steps[name] = layers[name]
            if name != names[-1]:
                steps[f"relu_{name}"] = nn.ReLU()
        if key is not None:
            draw_weights(layers, key, {**dict.fromkeys(names, BEFORE_RELU), names[-1]: 1.0})
        return Parts(chain(steps), layers)
