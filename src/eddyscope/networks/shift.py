"""How far a network is from treating all places of the periodic box alike. Uses torch."""

from __future__ import annotations

import torch
from torch import Tensor

from eddyscope.networks.base import LayeredModel
from eddyscope.networks.layers import evaluating

__all__ = ["SHIFTED", "SHIFT_ROUNDING", "shift_error", "shift_words"]

SHIFTED = 4
"""Samples over which it is measured."""

SHIFT_ROUNDING = 1e-4
"""Errors below are those of single precision."""


@torch.no_grad()
def shift_error(model: LayeredModel, inputs: Tensor) -> float:
    """max over shifts s by one point of ‖f(s x) - s f(x)‖ / ‖f(x)‖; 0 where f(x) is 0.

    The fields live on a periodic box and their physics is the same everywhere, so a shifted
    input should give the shifted output. Convolutions with circular padding see to it exactly;
    padding with zeros, strides and pooling do not.

    inputs: normalised samples, (sample, channel, y, x), which go to the network's device. Not
    collective.
    """
    inputs = inputs.to(model.device)
    with evaluating(model.module):
        output = model(inputs)
        shifted = [model(torch.roll(inputs, 1, axis)) for axis in (2, 3)]
    size = float(output.double().norm())
    wanted = [torch.roll(output, 1, axis) for axis in (2, 3)]
    errors = [float((s - w).double().norm()) for s, w in zip(shifted, wanted, strict=True)]
    return max(errors) / size if size > 0.0 else 0.0


def shift_words(error: float | None) -> str:
    """The error in a sentence, where there is more of it than rounding; else empty."""
    if error is None or error < SHIFT_ROUNDING:
        return ""
    return (
        f"the network does not treat all places alike: its output changes by {error:.1%} of its "
        "size when its input is shifted by one point (padding with zeros, strides or pooling do so)"
    )
