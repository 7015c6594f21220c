"""What every network is to the rest of the program: a module and its re-trainable layers.

    model = build(settings, channels, key, n)         # networks/registry.py
    model(x)                                          # (sample, channel, y, x) -> the same
    model.layers["l02"].weight
    model.recorded(x)                                 # what each layer was given and gave

How layers are joined is the module's own affair. What needs more than a forward pass is
written with torch.func: `functional_call(model.module, parameters, (x,))` with names as
`parameters_of` gives them, `jvp`, `vjp`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn

from eddyscope.networks.layers import sharing
from eddyscope.networks.settings import Channels, NetworkSettings

__all__ = ["LayerCall", "LayeredModel", "device_of"]


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes: where its parameters lie, and its inputs are to lie; the CPU for
    what has none."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


@dataclass(frozen=True)
class LayerCall:
    """One layer at work in a forward pass; tensors as the layer has them, in a network of
    convolutions with axes (sample, channel, y, x)."""

    name: str
    input: Tensor
    output: Tensor
    """Before anything is done to it, also in place."""


@dataclass(frozen=True)
class _Passed:
    """A layer's call as the rest of the network sees it."""

    call: LayerCall
    onward: Tensor
    """What the layers after it are given of its output."""


@dataclass(frozen=True)
class LayeredModel:
    """A module and those of its submodules that can be re-trained alone."""

    module: nn.Module
    layers: Mapping[str, nn.Module]
    """l01, l02, … in the order in which a forward pass meets them: submodules of `module`."""
    settings: NetworkSettings
    channels: Channels
    """Names of the channels it takes and gives, in their order."""
    n: int | None = None
    """Points a side of the grid it was made for."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Submodule that is no layer, though it looks like one -> why."""
    channels_last: bool = True
    """Whether it takes tensors that lie in memory with their channels last, which is faster."""

    def __call__(self, x: Tensor) -> Tensor:
        """Normalised outputs, (sample, output channel, y, x), of normalised inputs."""
        return cast(Tensor, self.module(x))

    @property
    def notes(self) -> list[str]:
        """What a user should know of its layers, a line each."""
        return [f"{path} is no layer of the network: {why}" for path, why in self.left_out.items()]

    def copy(self) -> LayeredModel:
        """The same network with parameters of its own."""
        return self.of(copy.deepcopy(self.module))

    def of(self, module: nn.Module) -> LayeredModel:
        """The same network around `module`, which has the same submodules."""
        paths = self.paths
        layers = {name: module.get_submodule(path) for name, path in paths.items()}
        return replace(self, module=module, layers=layers)

    @property
    def device(self) -> torch.device:
        """Where it computes, see `device_of`."""
        return device_of(self.module)

    def to(self, device: torch.device) -> None:
        """Move it; the layers stay the same objects."""
        self.module.to(device)

    @property
    def paths(self) -> dict[str, str]:
        """Layer -> its full name in `module`."""
        names = {id(submodule): path for path, submodule in self.module.named_modules()}
        return {name: names[id(layer)] for name, layer in self.layers.items()}

    @property
    def own_paths(self) -> dict[str, str]:
        """The same where the module is a user's own; else nothing, since no user knows them."""
        return self.paths if self.settings.of_user else {}

    @property
    def memory_format(self) -> torch.memory_format:
        """How tensors should lie in memory that it is given."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def modules_of(self, name: str) -> list[nn.Module]:
        """The submodules that are layer `name`: more than one where some share weights with it
        that are no layers of their own."""
        own, others = self.layers[name], list(self.layers.values())
        return [m for m in sharing(self.module, own) if m is own or m not in others]

    def parameters_of(self, name: str) -> dict[str, nn.Parameter]:
        """Parameters of layer `name` under their full names in `module`, its weight first."""
        full_names = {id(parameter): key for key, parameter in self.module.named_parameters()}
        own = [p for part in self.modules_of(name) for p in part.parameters()]
        return {full_names[id(parameter)]: parameter for parameter in own}

    def recorded(self, x: Tensor) -> list[LayerCall]:
        """What every layer is given and gives when the network is given `x`, in order.

        A layer that is met twice is there twice. Gradients flow as in any forward pass.
        """
        with self._watched() as passed:
            self.module(x)
        return [entry.call for entry in passed]

    def fed(self, x: Tensor) -> list[int | None]:
        """For each of the calls of `recorded(x)`, the place of the first later one whose input
        is made of what it gave; None if no layer is given anything of it."""
        with torch.enable_grad(), self._watched() as passed:
            self.module(x.detach().requires_grad_().clone())
        sources = [_sources(entry.call.input, passed[:at]) for at, entry in enumerate(passed)]
        calls = range(len(passed))
        return [next((at for at in calls if place in sources[at]), None) for place in calls]

    @contextmanager
    def _watched(self) -> Iterator[list[_Passed]]:
        """Calls of all layers, as they come. Layers work on copies, since a network may change
        in place what a layer was given, or gave."""
        passed: list[_Passed] = []
        given: list[Tensor] = []

        def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            given.append(inputs[0].clone())
            return (given[-1], *inputs[1:])

        def after(name: str, part: nn.Module) -> torch.utils.hooks.RemovableHandle:
            def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
                passed.append(_Passed(LayerCall(name, given.pop(), output), output.clone()))
                return passed[-1].onward

            return part.register_forward_hook(record)

        parts = [(name, part) for name in self.layers for part in self.modules_of(name)]
        handles = [part.register_forward_pre_hook(before) for _, part in parts]
        handles += [after(name, part) for name, part in parts]
        try:
            yield passed
        finally:
            for handle in handles:
                handle.remove()


def _sources(tensor: Tensor, passed: list[_Passed]) -> set[int]:
    """Places of the calls whose outputs `tensor` is made of with no other layer between them."""
    places = {entry.onward.grad_fn: place for place, entry in enumerate(passed)}
    found: set[int] = set()
    seen = set()
    waiting = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in places:
            found.add(places[node])
        else:
            waiting += [function for function, _ in node.next_functions]
    return found
