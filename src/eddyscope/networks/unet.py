"""A small U-Net (Ronneberger et al. 2015): two levels, periodic, with one skip connection.

    a = σ(W_2 * σ(W_1 * x))                    n × n points
    b = σ(W_4 * σ(W_3 * pool(a)))              n/2 × n/2: means of 2 × 2 points
    y = W_6 * σ(W_5 * [a, up(b)])              n × n again, σ = ReLU, with biases

Unlike a chain of convolutions it sees large scales with few weights; pooling keeps it
exact only under shifts by an even number of points.
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

__all__ = ["Unet"]

LAYERS = 6
"""Convolutions: two on the way down, two below, two on the way up."""


class Unet:
    """Six convolutions on two levels, each a layer."""

    class Settings(NetworkSettings):
        """`[network]` of kind "unet": convolutions on the grid and on one of half its points."""

        kind: Literal["unet"] = "unet"
        width: int = Field(default=32, ge=1, le=65536)
        """Channels on the full grid; the coarse level has twice as many."""
        kernel_size: int = Field(default=3, ge=1)
        """Side of the kernels (odd)."""
        upsampling: Literal["nearest", "bilinear"] = "nearest"
        """How the coarse level's channels come back to the full grid."""

        @field_validator("kernel_size")
        @classmethod
        def _odd(cls, size: int) -> int:
            if size % 2 == 0:
                raise ValueError(f"must be odd; use {size - 1} or {size + 1}")
            return size

    def __init__(self, settings: Settings):
        self.settings = settings

    def layer_names(self, channels: Channels, n: int | None) -> list[str]:
        return numbered(LAYERS)

    def check(self, n: int) -> None:
        """Raise CaseError unless the network works on n × n points."""
        if n % 2:
            raise CaseError(
                f'network.kind = "unet" halves the grid, but it has {n} points a side; use an '
                f"even filter.n such as {n + 1}"
            )
        size, coarse = self.settings.kernel_size, n // 2
        if size > coarse:
            raise CaseError(
                f"network.kernel_size = {size} is wider than the coarse level of {coarse} x "
                f"{coarse} points; use kernels of at most {coarse - 1 + coarse % 2}, or a finer "
                "filter.n"
            )

    def module(self, channels: Channels, n: int | None, key: Sequence[int] | None) -> Parts:
        from torch import nn

        from eddyscope.networks.blocks import (
            BEFORE_RELU,
            Beside,
            PeriodicUpsample,
            chain,
            convolution,
            draw_weights,
        )

        names = self.layer_names(channels, n)
        fine, coarse = self.settings.width, 2 * self.settings.width
        sizes = [
            (len(channels.inputs), fine),
            (fine, fine),
            (fine, coarse),
            (coarse, coarse),
            (fine + coarse, fine),
            (fine, len(channels.outputs)),
        ]
        layers: dict[str, nn.Module] = {
            name: convolution(inputs, outputs, self.settings.kernel_size)
            for name, (inputs, outputs) in zip(names, sizes, strict=True)
        }

        if key is not None:
            draw_weights(layers, key, {**dict.fromkeys(names, BEFORE_RELU), names[-1]: 1.0})

        def activated(*names: str) -> dict[str, nn.Module]:
            """Layers, each with a ReLU after it."""
            steps = (((name, layers[name]), (f"relu_{name}", nn.ReLU())) for name in names)
            return dict(step for pair in steps for step in pair)

        up = PeriodicUpsample(self.settings.upsampling)
        below = chain({"pool": nn.AvgPool2d(2), **activated("l03", "l04"), "up": up})
        top = {**activated("l01", "l02"), "skip": Beside(below), **activated("l05")}
        return Parts(chain({**top, "l06": layers["l06"]}), layers)
