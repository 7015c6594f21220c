"""The last layer, where it gives the output, by least squares: the best of all ways to train it.

min over θ of ‖y(θ) − Π‖² with y(θ) = y(θ₀) + J (θ − θ₀), by the normal equations in double
precision; of several solutions the one nearest to the base model's θ₀, by the pseudo-inverse
(Björck 1996, chapters 1 and 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Task, Usual

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["LeastSquares"]

LARGEST = 4096
"""Weights that are solved for at most: their eigenvalues take half a minute."""


class LeastSquares(Usual):
    """Solves for the weights of the last layer."""

    class Settings(Section):
        """The last layer, if it gives the output: the weights that fit best, without training."""

        kind: Literal["least_squares"] = "least_squares"

    is_trained: ClassVar[bool] = False

    @property
    def words(self) -> str:
        return "the last layer by least squares"

    def check_sizes(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        name, numbers = list(sizes().items())[-1]
        self._check_size(name, numbers)

    def _check_size(self, name: str, numbers: int) -> None:
        if numbers > LARGEST:
            raise CaseError(
                f"transfer asks for {self.text!r}, but {name}, the last layer, has {numbers} "
                f"weights, and at most {LARGEST} are solved for; take it out of transfer.controls"
            )

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.linear import Solved

        module = Solved(base, list(base.layers)[-1])
        self._check_size(module.layer, self.count(module))
        return module

    def fit(self, module: nn.Module, task: Task) -> None:
        from eddyscope.learning.adaptations.linear import Solved

        assert isinstance(module, Solved)
        module.solve(task.samples, task.batch_size)

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        from eddyscope.learning.adaptations.linear import Solved

        assert isinstance(module, Solved)
        return module.network
