"""Every weight, from the base model's, on samples of both systems: what keeps the base's skill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from eddyscope.artefacts.key import adaptation_text
from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Task, Usual

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Joint"]


class Joint(Usual):
    """Re-trains all layers on the target's samples and on some of the base's together.

    Samples of either count alike. Those of the base are normalised as the evaluation normalises the
    base's fields for this model: in the re-training's way, the base being the system, so by the
    statistics that the base model's file holds, under each way.
    """

    class Settings(Section):
        """All weights of all layers, on samples of both systems."""

        kind: Literal["joint"] = "joint"
        base_samples: int | None = Field(default=None, ge=1)
        """Samples of the base, taken evenly from its training members; by default as many as of the
        target."""

    settings: Settings

    @property
    def text(self) -> str:
        count = self.settings.base_samples
        return adaptation_text("joint", {} if count is None else {"base_samples": count})

    @property
    def words(self) -> str:
        count = self.settings.base_samples
        return f"all layers, on {count or 'as many'} base samples too"

    def base_samples(self, samples: int) -> int:
        return self.settings.base_samples or samples

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        return base.copy().module.train()

    def fit(self, module: nn.Module, task: Task) -> None:
        from eddyscope.learning.batches import Samples

        assert task.base_samples is not None
        of_base = task.base_samples(self.base_samples(len(task.samples)))
        task.train(module, samples=Samples.joined([task.samples, of_base]))
