"""The layer that gives a network's output, by least squares: the best that re-training it could do.

min over θ of ‖y(θ) − Π‖² with y(θ) = y(θ₀) + J (θ − θ₀), by the normal equations in double
precision; of several solutions the one nearest to the base model's θ₀, by the pseudo-inverse
(Björck 1996, chapters 1 and 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.artefacts.key import adaptation_text
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Task, Usual, check_layers

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["LeastSquares"]

LARGEST = 4096
"""Weights that are solved for at most: their eigenvalues take half a minute."""


class LeastSquares(Usual):
    """Solves for the weights of one layer."""

    class Settings(Section):
        """The layer that gives the output, without training: with the weights that fit best."""

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

    def check_sizes(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        by_layer = sizes()
        self._check_size(by_layer[self.settings.layer or list(by_layer)[-1]])

    def _check_size(self, numbers: int) -> None:
        if numbers > LARGEST:
            raise CaseError(
                f"transfer asks for {self.text!r}, but {self.settings.layer or 'the last layer'} "
                f"has {numbers} weights, and at most {LARGEST} are solved for; take it out of "
                "transfer.controls, or make the layer narrower"
            )

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.linear import Solved

        module = Solved(base, self.settings.layer or list(base.layers)[-1])
        self._check_size(self.count(module))
        return module

    def fit(self, module: nn.Module, task: Task) -> None:
        from eddyscope.learning.adaptations.linear import Solved

        assert isinstance(module, Solved)
        module.solve(task.samples, task.batch_size)

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        from eddyscope.learning.adaptations.linear import Solved

        assert isinstance(module, Solved)
        return module.network
