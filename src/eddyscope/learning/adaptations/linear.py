"""Least squares for the weights of the layer that gives a network's output. Uses torch.

The normal equations JᵀJ d = Jᵀe are summed in double precision from that layer alone, some samples
and some columns of J at a time; what comes before the layer is passed through batch by batch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.replaced import frozen_but
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel

__all__ = ["Solved"]

CUT = 1e-12
"""Share of the largest eigenvalue of JᵀJ up to which one counts as zero: more than the rounding of
JᵀJ. Weights along one that is kept are so large at the most that, rounded to single precision, they
still lower the error."""

LINEAR = 1e-8
"""Departure from linearity that is rounding, over the size of the change."""

NUMBERS = 2**24
"""Numbers in a block of J. Two blocks are in memory at a time."""


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

    @torch.no_grad()
    def solve(self, samples: Samples, batch_size: int) -> None:
        """Set the layer's weights to those of the least squares, of several the nearest to the
        base model's. Not collective: the same on all ranks. CaseError unless the layer gives the
        output, linearly in its weights."""
        weights = _Weights.of(self.network.layers[self.layer])
        equations = _Equations.of(weights)
        parts = zip(
            samples.inputs.split(batch_size), samples.targets.split(batch_size), strict=True
        )
        for inputs, targets in parts:
            given = self._given(inputs).double()
            if not weights.are_linear(given):
                raise self._refused("is not linear in its weights")
            equations.add(given, targets.double())
        weights.move(equations.solution())

    def _given(self, inputs: Tensor) -> Tensor:
        """What the layer is given. CaseError unless what it gives is the network's output."""
        calls = [call for call in self.network.recorded(inputs) if call.name == self.layer]
        if len(calls) != 1 or not torch.equal(calls[0].output, self.network(inputs)):
            raise self._refused("is not the network's output")
        return calls[0].input

    def _refused(self, why: str) -> CaseError:
        return CaseError(
            f"least_squares: what {self.layer}, the last layer, gives {why}; take it out of "
            "transfer.controls, or name a layer of which both are true last in network.layers"
        )


@dataclass(frozen=True)
class _Weights:
    """The weights of a layer that can be trained, as one vector θ in double precision."""

    own: dict[str, nn.Parameter]
    point: Tensor
    """θ of the base model."""
    module: nn.Module
    """A copy of the layer in double precision."""

    @classmethod
    def of(cls, layer: nn.Module) -> _Weights:
        own = {name: p for name, p in layer.named_parameters() if p.requires_grad}
        point = torch.cat([p.detach().double().flatten() for p in own.values()])
        return cls(own, point, copy.deepcopy(layer).double())

    def parts(self, vector: Tensor) -> dict[str, Tensor]:
        """A vector like θ by the names and in the shapes of the weights."""
        split = vector.split([p.numel() for p in self.own.values()])
        return {k: v.reshape(p.shape) for (k, p), v in zip(self.own.items(), split, strict=True)}

    def move(self, change: Tensor) -> None:
        for name, value in self.parts(self.point + change).items():
            self.own[name].copy_(value)

    def output(self, theta: Tensor, given: Tensor) -> Tensor:
        """What the layer gives with the weights `theta`."""
        named = self.parts(theta)
        return cast(Tensor, torch.func.functional_call(self.module, named, (given,)))

    def columns(self, directions: Tensor, given: Tensor) -> Tensor:
        """J v of each direction v, axes (direction, number of the output)."""

        def times(direction: Tensor) -> Tensor:
            moved = torch.func.jvp(lambda t: self.output(t, given), (self.point,), (direction,))
            return cast(Tensor, moved[1])

        return torch.func.vmap(times)(directions).flatten(1)

    def are_linear(self, given: Tensor) -> bool:
        """Whether steps as large as the weights, there and back, change the output as J says."""
        generator = torch.Generator().manual_seed(0)
        size = float(self.point.square().mean()) ** 0.5 or 1.0
        direction = size * torch.randn(self.point.shape, generator=generator, dtype=torch.float64)
        here = self.output(self.point, given).flatten()
        slope = self.columns(direction[None], given)[0]
        far = max(float(v.abs().max()) for v in (here, slope))
        moved = [(s, self.output(self.point + s * direction, given)) for s in (1.0, -3.0)]
        wrong = [(there.flatten() - here - s * slope).abs().max() for s, there in moved]
        return all(bool(w <= LINEAR * far) for w in wrong)


@dataclass(frozen=True)
class _Equations:
    """JᵀJ d = Jᵀe for a change d of a layer's weights, of the samples so far."""

    weights: _Weights
    matrix: Tensor
    """JᵀJ; above its diagonal blocks nothing is kept."""
    slope: Tensor
    """Jᵀe."""

    @classmethod
    def of(cls, weights: _Weights) -> _Equations:
        size = weights.point.numel()
        return cls(weights, *(torch.zeros(s, dtype=torch.float64) for s in ((size, size), (size,))))

    def add(self, given: Tensor, targets: Tensor) -> None:
        """Add samples: what the layer is given, and what it should give."""
        size = len(self.slope)
        at_once = max(1, NUMBERS // (size * targets[0].numel()))
        width = max(1, NUMBERS // targets[:at_once].numel())
        blocks = [slice(start, min(start + width, size)) for start in range(0, size, width)]
        for piece, wanted in zip(given.split(at_once), targets.split(at_once), strict=True):
            error = (wanted - self.weights.output(self.weights.point, piece)).flatten()
            for at, rows in enumerate(blocks):
                left = self._columns(rows, piece)
                self.slope[rows] += left @ error
                for columns in blocks[:at]:
                    self.matrix[rows, columns] += left @ self._columns(columns, piece).T
                self.matrix[rows, rows] += left @ left.T

    def _columns(self, chosen: slice, given: Tensor) -> Tensor:
        """Columns of J, axes (column, number of the output)."""
        places = torch.arange(chosen.start, chosen.stop)
        basis = nn.functional.one_hot(places, len(self.slope)).double()
        return self.weights.columns(basis, given)

    def solution(self) -> Tensor:
        """The d of least norm, by the pseudo-inverse."""
        values, vectors = torch.linalg.eigh(self.matrix, UPLO="L")
        kept = values > CUT * values[-1]
        along = vectors[:, kept]
        change: Tensor = along @ ((along.T @ self.slope) / values[kept])
        return change
