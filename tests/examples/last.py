"""An adaptation with a parameter as a user would add it: the last layers are re-trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from eddyscope.artefacts.key import adaptation_text
from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Usual

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Last"]


class Last(Usual):
    """Re-trains the last `count` layers."""

    class Settings(Section):
        """All weights of the last layers."""

        kind: Literal["last"] = "last"
        count: int = Field(default=2, ge=1)
        """How many."""

    settings: Settings

    @property
    def text(self) -> str:
        return adaptation_text("last", {"count": self.settings.count})

    @property
    def words(self) -> str:
        return f"the last {self.settings.count}"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.replaced import frozen_but

        return frozen_but(base, list(base.layers)[-self.settings.count :]).module
