"""The base model between one number a channel: what re-training has to beat.

A model that moves to another flow is wrong first of all by the sizes of ψ, ω and Π, whichever
statistics they are normalised by. These are as many numbers as there are channels, three of most
flows; what a re-trained layer removes beyond them it has learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Task
from eddyscope.learning.adaptations.scale import Scale

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["ThreeScales"]


class ThreeScales(Scale):
    """Multiplies each input channel by its g and each output by its a, where these minimise
    ‖a f(g x) - y‖² over the samples."""

    class Settings(Section):
        """One factor of each input and of each output, found without training."""

        kind: Literal["three_scales"] = "three_scales"

    @property
    def words(self) -> str:
        return "each input and output × one number"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.scaled import Scaled

        return Scaled(base, inputs=True, each_output=True)

    def fit(self, module: nn.Module, task: Task) -> None:
        from eddyscope.learning.adaptations.scaled import Scaled, fit_inputs

        assert isinstance(module, Scaled)
        fit_inputs(module, task.samples, task.batch_size)
