"""Every weight, each layer at a rate of its own: surgical fine-tuning's Auto-RGN (Lee et al. 2023).

The rate of the parameters θ of a submodule is multiplied by r/max r, r = |∂L/∂θ| / |θ|, L the mean
squared error of the base model over the target samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Task, Usual

if TYPE_CHECKING:
    from torch import Tensor, nn

    from eddyscope.learning.batches import Samples
    from eddyscope.networks.base import LayeredModel

__all__ = ["AutoRgn", "relative_gradients"]


class AutoRgn(Usual):
    """Re-trains all layers, the faster the larger their relative gradient is at the beginning."""

    class Settings(Section):
        """All weights of all layers, each layer's rate in proportion to its relative gradient."""

        kind: Literal["auto_rgn"] = "auto_rgn"

    @property
    def words(self) -> str:
        return "all layers, each at its own rate"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        return base.copy().module.train()

    def fit(self, module: nn.Module, task: Task) -> None:
        task.train(module, factors=relative_gradients(module, task.samples, task.batch_size))


def relative_gradients(module: nn.Module, samples: Samples, batch_size: int) -> dict[str, float]:
    """Full name of each parameter that is trained -> r/max r of the submodule that holds it.

    A submodule of zeros alone has no size to compare with; it counts as the largest.
    """
    import torch

    from eddyscope.networks.layers import evaluating

    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p) for name, p in trained.items()}
    batches = zip(samples.inputs.split(batch_size), samples.targets.split(batch_size), strict=True)
    with evaluating(module):
        for inputs, targets in batches:
            error = (module(inputs) - targets).square().sum()
            found = torch.autograd.grad(error, list(trained.values()), allow_unused=True)
            for name, gradient in zip(trained, found, strict=True):
                if gradient is not None:
                    sums[name] += gradient
    owner = {name: name.rpartition(".")[0] for name in trained}

    def size(tensors: Mapping[str, Tensor], of: str) -> float:
        mine = [t.detach().double().square().sum() for n, t in tensors.items() if owner[n] == of]
        return math.sqrt(sum(map(float, mine)))

    slopes, sizes = ({of: size(t, of) for of in owner.values()} for t in (sums, trained))
    ratios = {of: slope / sizes[of] for of, slope in slopes.items() if sizes[of] > 0.0}
    largest = max(ratios.values(), default=0.0) or 1.0
    return {name: ratios.get(of, largest) / largest for name, of in owner.items()}
