"""How fast each weight tensor may move, at every step of a training. Imports no torch.

The rate of a step is that of the tensor times the schedule's factor:

    constant    1
    cosine      up in a straight line over the first 5 % of the steps, then ½ (1 + cos πx), x from
                0 to 1 over the others

The rate of a tensor is Adam's own, or η / √fan_in (`fan_in`): a step changes a weight by about
its rate, and so an output by up to rate × fan_in inputs, or by rate × √fan_in where these are
independent. So η is about how far one step moves what a layer gives, whatever its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

__all__ = ["WITHOUT_FAN_IN", "Schedule", "factor", "fan_in", "passed", "tensor_rate"]

Schedule = Literal["constant", "cosine"]

WARM_UP = 0.05
"""Part of the steps over which "cosine" begins."""

WITHOUT_FAN_IN = 400
"""Taken for the fan-in of parameters that have none, such as gains: η/20."""


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """What multiplies all rates at `step`, counted from 0, of `steps`."""
    if schedule == "constant":
        return 1.0
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising + 1) / (steps - rising + 1)))


def passed(schedule: Schedule, done: int, steps: int) -> float:
    """The sum of the factors of the first `done` steps: how many steps of the full rate they are
    worth."""
    return math.fsum(factor(schedule, step, steps) for step in range(done))


def fan_in(shape: Sequence[int], transposed_groups: int = 0) -> int:
    """Inputs of one output value of a layer whose weight has this shape: channels of a group times
    the points of its kernel.

    transposed_groups: of a transposed convolution, whose weight is (in, out / groups, …).
    """
    if transposed_groups:
        return shape[0] // transposed_groups * math.prod(shape[2:])
    return math.prod(shape[1:])


def tensor_rate(rate: float, inputs: int | None) -> float:
    """η / √fan_in; inputs: fan_in, None for a parameter without one."""
    return rate / math.sqrt(inputs or WITHOUT_FAN_IN)
