"""Every weight, from random ones: what the base model is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.artefacts.normalisation import Way
from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Usual

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Scratch"]


class Scratch(Usual):
    """Trains a network of the base model's architecture from the beginning."""

    # Random weights suit inputs of unit variance, which the base's statistics need not give.
    way: ClassVar[Way | None] = "target"

    class Settings(Section):
        """All weights of all layers, from random weights. Fields are normalised by the target's
        own statistics, whatever transfer.normalisation is: nothing is taken from the base."""

        kind: Literal["scratch"] = "scratch"

    @property
    def words(self) -> str:
        return "all, from random weights"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.networks.registry import redrawn

        return redrawn(base, key).module
