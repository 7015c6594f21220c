"""Convolutions on a periodic box. Arrays have axes (sample, channel, y, x). Uses torch.

torch's own padding_mode = "circular" pads by writing into slices, and going back through that
copies the whole padded array once a slice: a third or more of a training step of a narrow network.
Here the way back adds the margins to the points that they are copies of.
"""

from __future__ import annotations

from itertools import product
from typing import Protocol, cast

import torch
from torch import Tensor, nn

__all__ = ["PeriodicConv2d", "wrapped"]


def wrapped(x: Tensor, width: int) -> Tensor:
    """`x` with `width` points more on each side, copies of those across the box; width is at most
    the points a side. Of any order of derivative, forward and backward."""
    if torch.compiler.is_compiling():  # the compiler fuses torch's own
        return _padded(x, width)
    return cast(Tensor, _Margins.apply(x, width, False))


def _padded(x: Tensor, width: int) -> Tensor:
    return nn.functional.pad(x, (width,) * 4, mode="circular")


def _folded(x: Tensor, width: int) -> Tensor:
    """The transpose of `_padded`: margins added to what they are copies of."""
    inner = slice(width, -width)
    begins, ends = (slice(None, width), slice(-width, None))
    result = x[..., inner, inner].clone()
    places = ((slice(None), inner), (begins, ends), (ends, begins))
    for (to_y, from_y), (to_x, from_x) in list(product(places, places))[1:]:
        result[..., to_y, to_x].add_(x[..., from_y, from_x])
    return result


class _Kept(Protocol):
    """What a pass keeps for the way back."""

    width: int
    folds: bool


class _Margins(torch.autograd.Function):
    """`_padded`, or its transpose `_folded`: the way back through each is the other."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, width: int, folds: bool) -> Tensor:
        return _folded(x, width) if folds else _padded(x, width)

    @staticmethod
    def setup_context(ctx: _Kept, inputs: tuple[Tensor, int, bool], output: Tensor) -> None:
        _, ctx.width, ctx.folds = inputs

    @staticmethod
    def backward(ctx: _Kept, given: Tensor) -> tuple[Tensor, None, None]:
        return cast(Tensor, _Margins.apply(given, ctx.width, not ctx.folds)), None, None

    @staticmethod
    def jvp(ctx: _Kept, given: Tensor, *_: None) -> Tensor:
        return cast(Tensor, _Margins.apply(given, ctx.width, ctx.folds))


class PeriodicConv2d(nn.Conv2d):
    """A convolution that keeps a periodic grid; its kernels are square, of an odd side."""

    def __init__(self, inputs: int, outputs: int, size: int, device: torch.device | None = None):
        super().__init__(
            inputs, outputs, size, padding=size // 2, padding_mode="circular", device=device
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if width := self.kernel_size[0] // 2:
            input = wrapped(input, width)
        return nn.functional.conv2d(input, weight, bias)
