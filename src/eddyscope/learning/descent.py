"""Adam with a rate for every weight tensor, which follows a schedule, and how far weights went."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from eddyscope.learning.recipe import Recipe
from eddyscope.learning.schedule import factor, fan_in, passed, tensor_rate

__all__ = ["Descent", "rates_of"]


def rates_of(
    network: nn.Module, trained: Mapping[str, nn.Parameter], recipe: Recipe
) -> dict[str, float]:
    """Full rate of each of the `trained` parameters of `network`, by full name."""
    factors = {name: recipe.factors.get(name, 1.0) for name in trained}
    if not recipe.scaled_by_fan_in:
        return {name: recipe.rate * times for name, times in factors.items()}
    owners = {id(p): m for m in network.modules() for p in m.parameters(recurse=False)}
    return {
        name: factors[name] * tensor_rate(recipe.rate, _fan_in(owners[id(parameter)], parameter))
        for name, parameter in trained.items()
    }


def _fan_in(owner: nn.Module, parameter: Tensor) -> int | None:
    """That of the layer `owner`, of which it is the weight or the bias; None for what has none."""
    weight = getattr(owner, "weight", None)
    weight = weight if isinstance(weight, Tensor) else parameter
    if weight.dim() < 2:
        return None
    groups = owner.groups if isinstance(owner, _ConvTransposeNd) else 0
    return fan_in(weight.shape, groups)


class Descent:
    """What moves the weights of a training, and remembers where they began."""

    def __init__(self, network: nn.Module, trained: Mapping[str, nn.Parameter], recipe: Recipe):
        self.recipe = recipe
        self.trained = trained
        self.rates = rates_of(network, trained, recipe)
        self.began = {name: p.detach().clone() for name, p in trained.items()}
        alike: dict[float, list[nn.Parameter]] = {}
        for name, parameter in trained.items():
            alike.setdefault(self.rates[name], []).append(parameter)
        self.full = list(alike)
        self.optimiser = torch.optim.Adam([{"params": p, "lr": r} for r, p in alike.items()])

    def take(self, step: int) -> None:
        """Step number `step`, counted from 0, along the gradients that the parameters have."""
        times = factor(self.recipe.schedule, step, self.recipe.steps)
        for group, rate in zip(self.optimiser.param_groups, self.full, strict=True):
            group["lr"] = rate * times
        self.optimiser.step()

    @torch.no_grad()
    def travel(self, done: int) -> float | None:
        """The largest max |Δθ| / Σ rate of any tensor after `done` steps; None before the first."""
        steps = passed(self.recipe.schedule, done, self.recipe.steps)
        if not done:
            return None
        moved = {
            name: float((p - self.began[name]).abs().max()) for name, p in self.trained.items()
        }
        rates = {name: rate for name, rate in self.rates.items() if rate > 0.0}
        return max((moved[name] / (rate * steps) for name, rate in rates.items()), default=0.0)
