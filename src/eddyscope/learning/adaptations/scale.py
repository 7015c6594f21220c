"""The base model times one number, by least squares: the floor under every re-training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.artefacts.role import Role
from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Task, Usual

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Scale"]


class Scale(Usual):
    """Multiplies the output by the factor a that minimises ‖a f(x) - pi‖² over the samples."""

    class Settings(Section):
        """One factor of the output, found without training."""

        kind: Literal["scale"] = "scale"

    is_trained: ClassVar[bool] = False
    role: ClassVar[Role] = "floor"

    @property
    def words(self) -> str:
        return "output × one number"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.replaced import ScaledOutput

        return ScaledOutput(base)

    def fit(self, module: nn.Module, task: Task) -> None:
        from eddyscope.learning.adaptations.replaced import ScaledOutput, best_factor

        assert isinstance(module, ScaledOutput)
        module.factor.data.fill_(best_factor(module.base, task.samples, task.batch_size))
        module.example = task.samples.inputs[:1]

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        from eddyscope.learning.adaptations.replaced import ScaledOutput

        assert isinstance(module, ScaledOutput)
        return module.folded()
