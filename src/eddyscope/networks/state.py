"""All that a network's module has learned or kept: parameters, buffers, scales. Uses torch.

A tensor that a module has under two names (tied weights) is one, under the first of them.
A scale is a factor of what a submodule gives, a buffer of it beside its own: by one, a network
is multiplied whatever follows its last layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = [
    "buffer_names",
    "load_state",
    "scale_name",
    "scale_output",
    "scaled_paths",
    "state_of",
]

SCALE = "eddyscope_scale"
"""Name of the buffer."""


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Full name -> tensor, each once: parameters and the buffers that torch calls persistent."""
    once: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        once.setdefault(id(tensor), (name, tensor))
    return dict(once.values())


def buffer_names(module: nn.Module) -> list[str]:
    """Those of `state_of` that are no parameters."""
    return [n for n, tensor in state_of(module).items() if not isinstance(tensor, nn.Parameter)]


@torch.no_grad()
def load_state(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put the values of `state_of` back. The names and shapes must be those of the module."""
    own = state_of(module)
    assert own.keys() == tensors.keys()
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def scale_output(module: nn.Module, scale: Tensor) -> None:
    """Multiply what `module` gives by `scale`, on top of a scale that it has."""
    if hasattr(module, SCALE):
        module.get_buffer(SCALE).mul_(scale)
        return
    module.register_buffer(SCALE, scale.clone())
    module.register_forward_hook(_scaled)


def scale_name(path: str) -> str:
    """Full name of the scale of the submodule at `path`."""
    return f"{path}.{SCALE}" if path else SCALE


def scaled_paths(names: Mapping[str, object]) -> list[str]:
    """Submodules whose scales are among the full names of a state."""
    return [name.rpartition(".")[0] for name in names if name.rpartition(".")[2] == SCALE]


def _scaled(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output * module.get_buffer(SCALE)
