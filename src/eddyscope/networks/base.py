"""What every network is to the rest of the program: a module and its re-trainable layers.

    model = build(settings, channels, key)            # networks/registry.py
    model(x)                                          # (sample, channel, y, x) -> the same
    model.layers["l02"].weight
    model.recorded(x)                                 # what each layer was given and gave

How layers are joined is the module's own affair. What needs more than a forward pass is
written with torch.func: `functional_call(model.module, parameters, (x,))` with names as
`parameters_of` gives them, `jvp`, `vjp`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from eddyscope.networks.settings import Channels, NetworkSettings

__all__ = ["LayerCall", "LayeredModel"]


@dataclass(frozen=True)
class LayerCall:
    """One layer at work in a forward pass; tensors have axes (sample, channel, y, x)."""

    name: str
    input: Tensor
    output: Tensor
    """Before any nonlinearity that follows the layer."""


@dataclass(frozen=True)
class LayeredModel:
    """A module and those of its submodules that can be re-trained alone."""

    module: nn.Module
    layers: Mapping[str, nn.Module]
    """l01, l02, … in the order in which a forward pass meets them: submodules of `module`."""
    settings: NetworkSettings
    channels: Channels
    """Names of the channels it takes and gives, in their order."""

    def __call__(self, x: Tensor) -> Tensor:
        """Normalised outputs, (sample, output channel, y, x), of normalised inputs."""
        return cast(Tensor, self.module(x))

    def copy(self) -> LayeredModel:
        """The same network with parameters of its own."""
        return self.of(copy.deepcopy(self.module))

    def of(self, module: nn.Module) -> LayeredModel:
        """The same network around `module`, which has the same submodules."""
        paths = self._paths()
        layers = {name: module.get_submodule(path) for name, path in paths.items()}
        return replace(self, module=module, layers=layers)

    def parameters_of(self, name: str) -> dict[str, nn.Parameter]:
        """Parameters of layer `name` under their full names in `module`."""
        path = self._paths()[name]
        own = self.layers[name].named_parameters()
        return {f"{path}.{key}": parameter for key, parameter in own}

    def recorded(self, x: Tensor) -> list[LayerCall]:
        """What every layer is given and gives when the network is given `x`, in order.

        Outputs are kept as they leave the layer. Gradients flow as in any forward pass.
        """
        calls: list[LayerCall] = []

        def recorder(name: str) -> torch.utils.hooks.RemovableHandle:
            def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                calls.append(LayerCall(name, inputs[0], output))

            return self.layers[name].register_forward_hook(record)

        handles = [recorder(name) for name in self.layers]
        try:
            self.module(x)
        finally:
            for handle in handles:
                handle.remove()
        return calls

    def _paths(self) -> dict[str, str]:
        """Layer -> its full name in `module`."""
        names = {id(submodule): path for path, submodule in self.module.named_modules()}
        return {name: names[id(layer)] for name, layer in self.layers.items()}
