"""How much of the target error a small change of one layer can remove.

With f the base network, e = pi - f(x) its error on the target samples, and J_l the exact
Jacobian of f in the weights and biases of layer l (Gauss-Newton, one layer at a time):

    R²_l = 1 - ‖e - J_l d‖² / ‖e‖²

A layer has more weights than a few samples have independent points, so the best d on the
samples it is fitted to says little. Hence d is fitted to a part of the samples by
conjugate gradients and judged on the rest, each part in turn, and the number of
iterations, which acts as the regulariser, is the one that serves the held-out parts best
(a small ridge keeps the last iterations sane). A layer whose changes do not carry over
from sample to sample scores 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eddyscope.advisor.settings import AdviseSettings
from eddyscope.learning.batches import Samples
from eddyscope.learning.metrics import shell_spectrum
from eddyscope.networks.closure_network import ClosureNetwork

__all__ = ["LayerJacobian", "folds_of", "linearised_gain"]

RIDGE = 1e-6
"""Ridge over the curvature of the squared error along its own gradient."""

FOLDS = 4
"""Most parts that the samples are held out in."""

PATIENCE = 6
"""Iterations without a gain on the held-out parts after which the fit stops."""

Parameters = dict[str, Tensor]


class LayerJacobian:
    """J of the output in the parameters of one layer, at fixed inputs. Exact: the ReLUs'
    masks are those of the base network, and everything after the layer is then linear."""

    def __init__(self, network: ClosureNetwork, name: str, inputs: Tensor):
        self.network = network
        self.name = name
        layer = network.layer(name)
        self.given = network.input_of(name, inputs).detach()
        self.point = {key: value.detach() for key, value in layer.named_parameters()}
        self.later = network.names[network.names.index(name) + 1 :]
        self.masks: list[Tensor] = []
        pulled: Any = torch.func.vjp(self._apply, self.point)
        self.output: Tensor = pulled[0]
        self._pull_back = pulled[1]

    def _apply(self, parameters: Parameters) -> Tensor:
        return self.network.output_from(self.name, self.given, parameters)

    def transposed(self, cotangent: Tensor) -> Parameters:
        """Jᵀ u for u of the output's shape."""
        return cast(Parameters, self._pull_back(cotangent)[0])

    def times(self, direction: Parameters) -> Tensor:
        """J d for d of the parameters' shapes."""
        if not self.masks:
            self.masks = self._signs()
        with torch.no_grad():
            change = self._linear(self.name, self.given, direction)
            for later, mask in zip(self.later, self.masks, strict=True):
                layer = self.network.layer(later)
                change = self._linear(later, change * mask, {"weight": layer.weight})
        return change

    def _signs(self) -> list[Tensor]:
        """Where the input of each later layer passed its ReLU."""
        masks = []
        with torch.no_grad():
            h = self.network.layer(self.name)(self.given)
            for later in self.later:
                masks.append((h > 0).to(h.dtype))
                h = self.network.layer(later)(torch.relu(h))
        return masks

    def _linear(self, name: str, g: Tensor, parameters: Parameters) -> Tensor:
        """Layer `name` with other parameters; without a bias unless one is given."""
        bias = parameters.get("bias", torch.zeros(len(parameters["weight"]), dtype=g.dtype))
        given = {"weight": parameters["weight"], "bias": bias}
        return cast(Tensor, torch.func.functional_call(self.network.layer(name), given, (g,)))


@dataclass
class Fit:
    """Conjugate gradients for min_d ‖m (e - J d)‖² + ridge ‖d‖² (CGLS), m a mask of points."""

    jacobian: LayerJacobian
    residual: Tensor
    """e - J d on all points, fitted to or not."""
    mask: Tensor

    def __post_init__(self) -> None:
        self.solution = {key: torch.zeros_like(p) for key, p in self.jacobian.point.items()}
        self.slope = self.jacobian.transposed(self.residual * self.mask)
        self.direction = self.slope
        self.steepness = _dot(self.slope, self.slope)
        self.ridge: float | None = None

    def step(self) -> None:
        """One iteration; nothing more once the slope has vanished."""
        if self.steepness == 0.0:
            return
        change = self.jacobian.times(self.direction)
        curvature = float((change * self.mask).double().square().sum())
        length = _dot(self.direction, self.direction)
        if self.ridge is None:
            self.ridge = RIDGE * curvature / length
        size = curvature + self.ridge * length
        if size == 0.0:
            return
        ahead = self.steepness / size
        self.solution = _add(self.solution, self.direction, ahead)
        self.residual = self.residual - ahead * change
        fitted = self.jacobian.transposed(self.residual * self.mask)
        self.slope = _add(fitted, self.solution, -self.ridge)
        before, self.steepness = self.steepness, _dot(self.slope, self.slope)
        self.direction = _add(self.slope, self.direction, self.steepness / before)


def linearised_gain(
    network: ClosureNetwork, samples: Samples, name: str, settings: AdviseSettings
) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """R² of layer `name` on held-out samples; samples may be as few as one.

    Curves: `fitted` and `held_out`, R² after each iteration (0 first, NaN once it has
    stopped); `band_gain`, the share of the error's power that goes in each shell
    k = 1 … n/2 - 1, held out.
    """
    jacobian = LayerJacobian(network, name, samples.inputs)
    error = samples.targets - jacobian.output.detach()
    fits = [Fit(jacobian, error, mask) for mask in folds_of(error)]
    fitted, held_out = np.full((2, settings.iterations + 1), np.nan)
    fitted[0] = held_out[0] = 0.0
    best, remaining = 0, error
    for iteration in range(1, settings.iterations + 1):
        for fit in fits:
            fit.step()
        # Every sample is held out once, so the held-out parts make up one whole field.
        left = sum((fit.residual * (1 - fit.mask) for fit in fits), torch.zeros_like(error))
        inside = sum(_power(fit.residual * fit.mask) for fit in fits)
        fitted[iteration] = 1.0 - inside / sum(_power(error * fit.mask) for fit in fits)
        held_out[iteration] = 1.0 - _power(left) / _power(error)
        if held_out[iteration] > held_out[best]:
            best, remaining = iteration, left
        elif iteration - best >= PATIENCE:
            break
    curves = {"fitted": fitted, "held_out": held_out, "band_gain": _band_gain(error, remaining)}
    return float(held_out[best]), curves


def folds_of(error: Tensor) -> list[Tensor]:
    """Masks (1 fitted to, 0 held out), broadcast over (sample, channel, y, x).

    Whole samples are held out in turn; of a lone sample, the halves of the box.
    """
    count, _, rows, _ = error.shape
    shape = (count, 1, 1, 1) if count > 1 else (1, 1, rows, 1)
    parts = min(count, FOLDS) if count > 1 else 2
    label = torch.arange(max(shape))
    owner = label % parts if count > 1 else label * parts // rows
    return [(owner != part).to(error.dtype).reshape(shape) for part in range(parts)]


def _power(field: Tensor) -> float:
    return float(field.double().square().sum())


def _band_gain(error: Tensor, remaining: Tensor) -> NDArray[np.float64]:
    before, after = (_power_spectrum(field) for field in (error, remaining))
    return 1.0 - after / np.maximum(before, np.finfo(float).tiny)


def _power_spectrum(field: Tensor) -> NDArray[np.float64]:
    return np.asarray(shell_spectrum(field[:, 0].double().numpy(), power=2).sum(axis=0))


def _dot(a: Parameters, b: Parameters) -> float:
    return float(sum(float((a[key].double() * b[key]).sum()) for key in a))


def _add(a: Parameters, b: Parameters, factor: float) -> Parameters:
    return {key: a[key] + factor * b[key] for key in a}
