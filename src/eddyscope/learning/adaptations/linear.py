"""Least squares for the weights of a layer that a network's output is linear in. Uses torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.replaced import frozen_but
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel

__all__ = ["Solved"]

Parameters = dict[str, Tensor]
"""Full parameter name -> values."""

LINEAR = 1e-8
"""Departure from linearity that is rounding, over the size of the change."""

TOLERANCE = 1e-12
"""Share of ‖r‖² by which an iteration lowers it, below which it is converged."""

ROUNDS = 3
"""Iterations over the number of parameters, at the most: rounding makes more than one of it."""


class Solved(nn.Module):
    """A network of which one layer is solved for."""

    def __init__(self, base: LayeredModel, layer: str):
        super().__init__()
        self.network = frozen_but(base, [layer])
        self.network.module.eval()
        self.base = self.network.module
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def solve(self, samples: Samples, batch_size: int) -> None:
        """Set the layer's weights. CaseError unless the output is linear in them."""
        problem = _Problem.of(self.network, self.layer, samples, batch_size)
        if not problem.is_linear():
            raise CaseError(
                f"least_squares: the network's output is not linear in {self.layer}; name the "
                "layer that gives the output, or leave it out"
            )
        change = problem.solution()
        with torch.no_grad():
            for name, parameter in self.network.parameters_of(self.layer).items():
                parameter.add_(change[name].to(parameter))


Apply = Callable[[Mapping[str, Tensor]], Tensor]
"""The output of one batch for a layer's parameters."""


@dataclass(frozen=True)
class _Problem:
    """‖y(θ) − Π‖² in double precision, batch by batch."""

    point: Parameters
    """The base model's θ."""
    batches: list[tuple[Apply, Tensor]]
    """With the targets of each."""

    @classmethod
    def of(cls, network: LayeredModel, layer: str, samples: Samples, size: int) -> _Problem:
        double = network.copy()
        double.module.double().requires_grad_(False)
        point = {k: p.detach() for k, p in double.parameters_of(layer).items()}
        parts = zip(samples.inputs.split(size), samples.targets.split(size), strict=True)
        return cls(point, [(_apply(double, layer, x.double()), t.double()) for x, t in parts])

    def is_linear(self) -> bool:
        """Whether steps as large as the weights change the output in proportion, there and back."""
        generator = torch.Generator().manual_seed(0)
        size = max(float(p.square().mean()) for p in self.point.values()) ** 0.5 or 1.0
        direction = {
            k: size * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
            for k, p in self.point.items()
        }
        for apply, _ in self.batches:
            middle = apply(self.point)
            ahead, back, far = (apply(_moved(self.point, direction, s)) for s in (1.0, -1.0, 3.0))
            change = ahead - middle
            wrong = max(
                (change + back - middle).abs().max(), (far - middle - 3 * change).abs().max()
            )
            if not bool(wrong <= LINEAR * (change.abs().max() + middle.abs().max())):
                return False
        return True

    def solution(self) -> Parameters:
        """The change of θ, of least norm. CGLS."""
        outputs = [apply(self.point) for apply, _ in self.batches]
        residual = [t - y for y, (_, t) in zip(outputs, self.batches, strict=True)]
        change = {k: torch.zeros_like(p) for k, p in self.point.items()}
        slope = self._transposed(residual)
        direction, steepness = slope, _dot(slope, slope)
        for _ in range(ROUNDS * sum(p.numel() for p in self.point.values())):
            if steepness == 0.0:
                break
            moved = [
                apply(_moved(self.point, direction, 1.0)) - y
                for y, (apply, _) in zip(outputs, self.batches, strict=True)
            ]
            curvature = sum(float(m.square().sum()) for m in moved)
            if curvature == 0.0:
                break
            ahead = steepness / curvature
            change = _moved(change, direction, ahead)
            residual = [r - ahead * m for r, m in zip(residual, moved, strict=True)]
            if ahead * steepness <= TOLERANCE * sum(float(r.square().sum()) for r in residual):
                break
            slope = self._transposed(residual)
            before, steepness = steepness, _dot(slope, slope)
            direction = _moved(slope, direction, steepness / before)
        return change

    def _transposed(self, fields: list[Tensor]) -> Parameters:
        """Jᵀ u."""
        total = {k: torch.zeros_like(p) for k, p in self.point.items()}
        for (apply, _), field in zip(self.batches, fields, strict=True):
            pulled: Any = torch.func.vjp(apply, self.point)
            total = _moved(total, pulled[1](field)[0], 1.0)
        return total


def _apply(network: LayeredModel, layer: str, x: Tensor) -> Apply:
    """The output for the parameters of `layer`, from its own input where it gives the output."""
    calls = [call for call in network.recorded(x) if call.name == layer]
    if len(calls) == 1 and torch.equal(calls[0].output, network(x)):
        module, given = copy.deepcopy(network.layers[layer]), calls[0].input
        full = {id(p): name for name, p in network.parameters_of(layer).items()}
        own = {full[id(p)]: name for name, p in network.layers[layer].named_parameters()}

        def of_layer(parameters: Mapping[str, Tensor]) -> Tensor:
            named = {own[name]: value for name, value in parameters.items()}
            output: Tensor = torch.func.functional_call(module, named, (given,))
            return output

        return of_layer

    def of_network(parameters: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = torch.func.functional_call(network.module, dict(parameters), (x,))
        return output

    return of_network


def _moved(a: Mapping[str, Tensor], b: Mapping[str, Tensor], factor: float) -> Parameters:
    return {key: a[key] + factor * b[key] for key in a}


def _dot(a: Parameters, b: Parameters) -> float:
    return float(sum(float((a[key] * b[key]).sum()) for key in a))
