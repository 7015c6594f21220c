"""The Jacobian of a network's output in the parameters of one of its layers.

Exact for any network, whatever joins its layers: products with Jᵀ are backward-mode
derivatives of the whole network, products with J forward-mode ones. A product with J goes
through the network once more, but there is a shortcut: layers that are affine (convolutions
and the like) give what they gave when they were recorded, and to the change of their input they
only apply their weights, so a product costs no more than one pass through the layers from the
chosen one on. It is taken where one product by it is that without it; parameters that a network
uses outside of their layer too (tied weights) would be missed by it. (torch.func.jvp would
compute every layer anew, torch.func.linearize of torch 2 gives wrong numbers for circular
padding, and transposing Jᵀ computes gradients nobody needs.)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from eddyscope.config.errors import CaseError
from eddyscope.networks.base import LayerCall, LayeredModel
from eddyscope.networks.layers import is_affine

__all__ = ["LayerJacobian", "Parameters"]

Parameters = dict[str, Tensor]
"""Full parameter name -> values."""

Forward = Callable[[Tensor], Tensor]

ROUNDING = 1e-4
"""Difference of two ways to one product that single precision makes, in units of its norm."""


class LayerJacobian:
    """J of the output in layer `name`'s parameters, at fixed inputs (sample, channel, y, x)."""

    def __init__(self, model: LayeredModel, name: str, inputs: Tensor):
        self.model = model
        self.name = name
        self.inputs = inputs
        self.point: Parameters = {k: p.detach() for k, p in model.parameters_of(name).items()}
        with torch.no_grad():
            self.calls = model.recorded(inputs)
        self.chosen = copy.deepcopy(model.layers[name])
        self.unbiased = {
            layer: _without_bias(module)
            for layer, module in model.layers.items()
            if is_affine(module) and len(model.modules_of(layer)) == 1
        }
        pulled: Any = torch.func.vjp(self._output_of, self.point)
        self.output: Tensor = pulled[0].detach()
        self._pull_back: Callable[[Tensor], tuple[Parameters]] = pulled[1]
        if not self._shortcut_holds():
            self.unbiased = {}

    def _output_of(self, parameters: Parameters) -> Tensor:
        output = torch.func.functional_call(self.model.module, parameters, (self.inputs,))
        return cast(Tensor, output)

    @torch.no_grad()
    def transposed(self, cotangent: Tensor) -> Parameters:
        """Jᵀ u for u of the output's shape."""
        return self._pull_back(cotangent)[0]

    @torch.no_grad()
    def times(self, direction: Parameters) -> Tensor:
        """J d for d of the parameters' shapes."""
        with _plain_attention(), forward_ad.dual_level(), ExitStack() as exits:
            for name, layer in self.unbiased.items():
                calls = iter([call for call in self.calls if call.name == name])
                moved = self._moved(direction) if name == self.name else None
                exits.enter_context(
                    _with_forward(self.model.layers[name], _LookedUp(calls, layer, moved))
                )
            if self.name in self.unbiased:
                output = self.model(self.inputs)
            else:
                point = {k: forward_ad.make_dual(p, direction[k]) for k, p in self.point.items()}
                output = self._output_of(point)
            change = forward_ad.unpack_dual(output).tangent
        return torch.zeros_like(self.output) if change is None else change

    def _shortcut_holds(self) -> bool:
        """Whether one product is the same with the shortcut and without it."""
        generator = torch.Generator().manual_seed(0)
        direction = {
            k: torch.randn(p.shape, generator=generator).to(p) for k, p in self.point.items()
        }
        shortcut, self.unbiased = self.unbiased, {}
        try:
            plain = self.times(direction)
        except NotImplementedError as error:
            raise CaseError(
                "the network does something that torch has no forward-mode derivative of "
                f"({str(error).splitlines()[0]}); leave out the score linearised_gain, or write "
                "it otherwise"
            ) from None
        self.unbiased = shortcut
        try:
            short = self.times(direction)
        except (RuntimeError, StopIteration):  # a layer is not called as it was recorded
            return False
        return bool((short - plain).norm() <= ROUNDING * plain.norm())

    def _moved(self, direction: Parameters) -> Forward:
        """What the chosen layer gives with `direction` for its parameters."""
        names = [key for key, _ in self.chosen.named_parameters()]
        parameters = dict(zip(names, (direction[key] for key in self.point), strict=True))
        return lambda x: cast(Tensor, torch.func.functional_call(self.chosen, parameters, (x,)))


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Let attention be computed step by step: torch's fast ways have no forward-mode derivative."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _LookedUp:
    """What an affine layer gives: its recorded output, with the change that those of its input
    and of its parameters make."""

    def __init__(self, calls: Iterator[LayerCall], unbiased: Forward, moved: Forward | None):
        self.calls = calls
        self.unbiased = unbiased
        """The layer without its bias: what a change of its input makes."""
        self.moved = moved
        """What a change of its parameters makes of its input; None where they do not change."""

    def __call__(self, x: Tensor) -> Tensor:
        call = next(self.calls)
        of_input = forward_ad.unpack_dual(x).tangent
        changes = [] if of_input is None else [self.unbiased(of_input)]
        if self.moved is not None:
            changes.append(self.moved(call.input))
        if not changes:
            return call.output
        dual: Tensor = forward_ad.make_dual(call.output, sum(changes[1:], changes[0]))
        return dual


def _without_bias(layer: nn.Module) -> nn.Module:
    """A copy, with the class's own forward."""
    unbiased = copy.deepcopy(layer)
    unbiased.register_parameter("bias", None)
    return unbiased


@contextmanager
def _with_forward(layer: nn.Module, forward: Forward) -> Iterator[None]:
    """Let `layer` give what `forward` gives."""
    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward  # the class's own is there again
