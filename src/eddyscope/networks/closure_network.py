"""The closure network: convolutions with ReLU between them, (psi, omega) -> pi.

    h_1 = W_1 * (psi, omega) + b_1,   g_l = max(h_l, 0),   h_l = W_l * g_(l-1) + b_l,   pi = h_depth

in normalised variables. `*` is the cross-correlation that deep-learning libraries call
convolution; with circular padding it is exact on the periodic box, so the network
commutes with shifts of the grid. Arrays have axes (sample, channel, y, x).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from eddyscope.config.streams import integer_seed
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.settings import numbered as layer_names

__all__ = ["INPUTS", "OUTPUTS", "ClosureNetwork"]

INPUTS = ("psi", "omega")
OUTPUTS = ("pi",)
"""Channels, in their order."""


class ClosureNetwork(nn.Module):
    """`settings.depth` convolutions called l01, l02, …; weights drawn from `key` alone."""

    def __init__(self, settings: Cnn.Settings, key: Sequence[int] = (0,)):
        super().__init__()
        self.settings = settings
        self.names = layer_names(settings.depth)
        hidden = [settings.width] * (settings.depth - 1)
        channels = [len(INPUTS), *hidden, len(OUTPUTS)]
        for name, inputs, outputs in zip(self.names, channels[:-1], channels[1:], strict=True):
            # skip_init: torch's own initialisation would advance the global generator.
            layer = nn.utils.skip_init(
                nn.Conv2d,
                inputs,
                outputs,
                settings.kernel_size,
                padding=settings.kernel_size // 2,
                padding_mode=settings.padding,
            )
            self.add_module(name, layer)
        self.initialise(key)

    @classmethod
    def of(cls, model: LayeredModel) -> ClosureNetwork:
        """The same network as one of these."""
        network = cls(cast(Cnn.Settings, model.settings))
        network.load_state_dict(model.module.state_dict())
        return network

    def layer(self, name: str) -> nn.Conv2d:
        """The convolution called `name`."""
        return cast(nn.Conv2d, self.get_submodule(name))

    @torch.no_grad()
    def initialise(self, key: Sequence[int]) -> None:
        """Draw all weights anew (He et al. 2015, uniform) and set the biases to zero.

        Each layer has its own stream, so its weights do not depend on the other layers.
        A ReLU halves the variance, hence the gain 2 before one and 1 before the output.
        """
        for number, name in enumerate(self.names, start=1):
            layer = self.layer(name)
            gain = 1.0 if name == self.names[-1] else 2.0
            bound = (3.0 * gain / layer.weight[0].numel()) ** 0.5
            generator = torch.Generator().manual_seed(integer_seed("weights", *key, number))
            drawn = torch.rand(layer.weight.shape, generator=generator)
            layer.weight.copy_((2.0 * drawn - 1.0) * bound)
            assert layer.bias is not None
            layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pi, (sample, 1, y, x), of normalised psi and omega, (sample, 2, y, x)."""
        for name in self.names[:-1]:
            x = torch.relu(self.layer(name)(x))
        return cast(Tensor, self.layer(self.names[-1])(x))

    def activations(self, x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(name, h, g) of each layer: before the ReLU, and after it (in the last layer g is h)."""
        for name in self.names:
            h = self.layer(name)(x)
            x = h if name == self.names[-1] else torch.relu(h)
            yield name, h, x

    def input_of(self, name: str, x: Tensor) -> Tensor:
        """What layer `name` is given when the network is given `x`."""
        for earlier in self.names[: self.names.index(name)]:
            x = torch.relu(self.layer(earlier)(x))
        return x

    def output_from(self, name: str, g: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The output when layer `name` is given `g` and has other `parameters` (weight, bias)."""
        h: Tensor = torch.func.functional_call(self.layer(name), dict(parameters), (g,))
        for later in self.names[self.names.index(name) + 1 :]:
            h = self.layer(later)(torch.relu(h))
        return h
