"""A layer that the output is linear in, by least squares: the best that its re-training could do.

min over θ of ‖y(θ) − Π‖² with y(θ) = y(0) + J θ, by conjugate gradients on the normal equations
(CGLS; Björck 1996, §7.4) in double precision, from the base model's θ on, so that of all solutions
it is the one nearest to the base model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.artefacts.key import adaptation_text
from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Task, Usual, check_layers

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["LeastSquares"]


class LeastSquares(Usual):
    """Solves for the weights of one layer."""

    class Settings(Section):
        """A layer that the output is linear in, the last one above all, without training."""

        kind: Literal["least_squares"] = "least_squares"
        layer: str | None = None
        """A name such as "l08"; by default the last one."""

    is_trained: ClassVar[bool] = False

    settings: Settings

    @property
    def text(self) -> str:
        layer = self.settings.layer
        return adaptation_text("least_squares", {} if layer is None else {"layers": layer})

    @property
    def words(self) -> str:
        return f"{self.settings.layer or 'the last layer'} by least squares"

    def check(self, layers: Sequence[str]) -> None:
        check_layers([self.settings.layer] if self.settings.layer else [], layers)

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.linear import Solved

        return Solved(base, self.settings.layer or list(base.layers)[-1])

    def fit(self, module: nn.Module, task: Task) -> None:
        from eddyscope.learning.adaptations.linear import Solved

        assert isinstance(module, Solved)
        module.solve(task.samples, task.batch_size)

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        from eddyscope.learning.adaptations.linear import Solved

        assert isinstance(module, Solved)
        return module.network
