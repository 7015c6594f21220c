"""A frozen network between factors of what it is given and of what it gives. Uses torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from eddyscope.learning.adaptations.replaced import frozen_but
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel

__all__ = ["Scaled", "fit_inputs", "fit_outputs"]

STEPS = 100
"""Of L-BFGS, at most."""
PRECISE = 1e-12
"""Gradient of the relative error, or its change in a step, below which it ends."""
ROUGH_STEPS, ROUGH = 8, 1e-4
"""The same for three digits."""


class Scaled(nn.Module):
    """x -> a f(g x): factors of some input channels, and of all outputs together or of each."""

    inputs: nn.Parameter | None
    outputs: nn.Parameter

    def __init__(self, base: LayeredModel, inputs: bool, each_output: bool):
        """inputs: whether each input channel has a factor; each_output: whether each output has."""
        super().__init__()
        self.network = frozen_but(base, [])
        self.module = self.network.module
        self.precision = next((p.dtype for p in self.module.parameters()), torch.float32)
        """That the network computes in."""
        channels = base.channels
        self.outputs = _ones(len(channels.outputs) if each_output else 1)
        self.register_parameter("inputs", _ones(len(channels.inputs)) if inputs else None)

    def forward(self, x: Tensor) -> Tensor:
        given = x if self.inputs is None else x * self.inputs
        return self.precise(given).to(x.dtype)

    def precise(self, given: Tensor) -> Tensor:
        """Outputs in double precision, of inputs times their factors."""
        return self.network(given.to(self.precision)) * self.outputs

    @property
    def scales(self) -> dict[str, float]:
        """Channel -> its factor."""
        channels = self.network.channels
        gives = self.outputs.flatten().expand(len(channels.outputs)).tolist()
        found = dict(zip(channels.outputs, gives, strict=True))
        if self.inputs is not None:
            found |= zip(channels.inputs, self.inputs.flatten().tolist(), strict=True)
        return found


@torch.no_grad()
def fit_outputs(module: Scaled, samples: Samples, batch_size: int) -> None:
    """The factors a of the outputs that minimise ‖a f(x) - y‖² over the samples: ⟨f, y⟩ / ⟨f, f⟩,
    or 0 where f is."""
    with_target, with_itself = torch.zeros((2, *module.outputs.shape), dtype=torch.float64)
    module.outputs.fill_(1.0)
    for inputs, targets in _batches(samples, batch_size):
        output = module.precise(inputs if module.inputs is None else inputs * module.inputs)
        for total, product in ((with_target, output * targets), (with_itself, output * output)):
            by_channel = product.sum(dim=(0, 2, 3)).reshape(-1, 1, 1)
            total += by_channel if len(total) > 1 else by_channel.sum()
    module.outputs.copy_(torch.where(with_itself > 0, with_target / with_itself, 0.0))


def fit_inputs(module: Scaled, samples: Samples, batch_size: int, rough: bool = False) -> None:
    """The factors g of the inputs and a of the outputs that minimise ‖a f(g x) - y‖²: g by L-BFGS
    from 1, at each step with the best a. Deterministic; in double precision, where the network can.

    rough: to about three digits, in the network's own precision, at a tenth of the cost.
    """
    given = module.inputs
    assert given is not None
    power = float(samples.targets.double().square().sum())
    best = (math.inf, given.detach().clone())
    search = torch.optim.LBFGS(
        [given],
        max_iter=ROUGH_STEPS if rough else STEPS,
        tolerance_grad=ROUGH if rough else PRECISE,
        tolerance_change=ROUGH if rough else PRECISE,
        line_search_fn="strong_wolfe",
    )

    def error() -> float:
        nonlocal best
        fit_outputs(module, samples, batch_size)  # there the derivative in a is zero
        search.zero_grad()
        whole = 0.0
        for inputs, targets in _batches(samples, batch_size):
            wrong = (module.precise(inputs * given) - targets).square().sum() / power
            wrong.backward(inputs=[given])
            whole += float(wrong.detach())
        if whole < best[0]:
            best = (whole, given.detach().clone())
        return whole

    precision = nullcontext() if rough else _in_double_precision(module, samples.inputs[:1])
    with torch.enable_grad(), precision:
        if power > 0.0:
            search.step(error)
        given.data.copy_(best[1])
        fit_outputs(module, samples, batch_size)


def _ones(count: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(count, 1, 1, dtype=torch.float64))


@contextmanager
def _in_double_precision(module: Scaled, example: Tensor) -> Iterator[None]:
    """With the network in double precision, unless it cannot compute in that."""
    own = module.precision
    _compute_in(module, torch.float64)
    try:
        with torch.no_grad():
            module(example)
    except Exception:  # whatever a user's forward raises
        _compute_in(module, own)
    yield
    _compute_in(module, own)


def _compute_in(module: Scaled, precision: torch.dtype) -> None:
    module.module.to(precision)
    module.precision = precision


def _batches(samples: Samples, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(samples.inputs.split(size), samples.targets.split(size), strict=True)
