"""A network that is run many times on the same samples while one layer of it changes.

What comes before that layer in a forward pass is the same every time: it is computed once, and
given again. How layers are joined is the module's own affair here too. Uses torch.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor, nn

from eddyscope.networks.base import LayeredModel

__all__ = ["Replay"]

SAME = 1e-4
"""Largest difference of outputs, over their root mean square, of a network that can be replayed."""

TRIED = 2
"""Samples that are looked at for it."""


class Replay:
    """A copy of `model` whose layer `layer` alone can be trained, on these inputs.

    `trained` are the layer's parameters by their full names in `module`, and require gradients;
    `replay(places)` is the network's output for the inputs at `places`, (sample, output channel, y,
    x). Layers that a forward pass meets before `layer` are not computed again, unless the network
    then gives something else: where a sample's output depends on the others, say.
    """

    def __init__(self, model: LayeredModel, layer: str, inputs: Tensor):
        self._network = model.copy()
        self.module = self._network.module
        self.module.requires_grad_(False).eval()
        self.trained = self._network.parameters_of(layer)
        self._point = {name: p.detach().clone() for name, p in self.trained.items()}
        self._inputs = inputs.contiguous(memory_format=model.memory_format)
        self._places = torch.arange(0)
        with torch.no_grad():
            self._skip(layer)
        for parameter in self.trained.values():
            parameter.requires_grad_(True)

    @torch.no_grad()
    def restart(self) -> None:
        """Let the layer be as it was."""
        for name, parameter in self.trained.items():
            parameter.copy_(self._point[name])
            parameter.grad = None

    def __call__(self, places: Tensor) -> Tensor:
        self._places = places
        return self._network(self._inputs[places])

    def _skip(self, layer: str) -> None:
        """Let the layers before `layer` give again what they gave."""
        calls = self._network.recorded(self._inputs)
        names = [call.name for call in calls]
        before = {call.name: call.output for call in calls[: names.index(layer)]}
        once = [name for name in before if names.count(name) == 1]
        alone = [name for name in once if len(self._network.modules_of(name)) == 1]
        places = torch.arange(min(TRIED, len(self._inputs)), device=self._inputs.device)
        expected = self(places)
        parts = {name: self._network.layers[name] for name in alone}
        for name, part in parts.items():
            part.forward = MethodType(self._giving(before[name]), part)
        if not _alike(self(places), expected):
            for part in parts.values():
                del part.forward

    def _giving(self, outputs: Tensor) -> Callable[..., Tensor]:
        def given(_: nn.Module, *inputs: object) -> Tensor:
            return outputs[self._places]

        return given


def _alike(given: Tensor, expected: Tensor) -> bool:
    scale = float(expected.double().square().mean().sqrt())
    return float((given - expected).abs().max()) <= SAME * scale
