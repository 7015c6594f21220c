"""The base model times one number, by least squares: the floor under every re-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.artefacts.role import Role
from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Task, Usual

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Scale"]


class Scale(Usual):
    """Multiplies the output by the factor a that minimises ‖a f(x) - y‖² over the samples."""

    class Settings(Section):
        """One factor of the output, found without training."""

        kind: Literal["scale"] = "scale"

    is_trained: ClassVar[bool] = False
    role: ClassVar[Role] = "floor"

    @property
    def words(self) -> str:
        return "output × one number"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.scaled import Scaled

        return Scaled(base, inputs=False, each_output=False)

    def fit(self, module: nn.Module, task: Task) -> None:
        from eddyscope.learning.adaptations.scaled import Scaled, fit_outputs

        assert isinstance(module, Scaled)
        fit_outputs(module, task.samples, task.batch_size)

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        return base.copy()

    def scales(self, module: nn.Module) -> Mapping[str, float]:
        from eddyscope.learning.adaptations.scaled import Scaled

        assert isinstance(module, Scaled)
        return module.scales
