"""Every weight, from the base model's: what re-training can do at most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.artefacts.role import Role
from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Usual

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Everything"]


class Everything(Usual):
    """Re-trains all layers."""

    class Settings(Section):
        """All weights of all layers."""

        kind: Literal["all"] = "all"

    role: ClassVar[Role] = "ceiling"

    @property
    def words(self) -> str:
        return "all layers"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        return base.copy().module.train()
