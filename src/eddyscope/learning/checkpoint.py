"""Checkpoints of training: trained parameters, Adam's moments, buffers, curves. No pickle.

Reading never removes one: a checkpoint that cannot be used is passed over, and it is said why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from eddyscope.artefacts.tensor_file import read_tensors, write_tensors
from eddyscope.config.arrays import AnyArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.history import History
from eddyscope.parallel.world import World

__all__ = ["restore", "save_checkpoint"]

FORMAT = "eddyscope-training-3"

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""Adam's state of each parameter, as torch names it."""


KEPT = "kept"
"""Of a buffer, such as a running mean: its value."""


def save_checkpoint(
    path: Path,
    identity: str,
    parameters: Mapping[str, nn.Parameter],
    buffers: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    history: History,
    world: World,
) -> None:
    """Replace the checkpoint at `path`, whole or not at all. Collective."""

    def write() -> None:
        arrays: dict[str, AnyArray] = {}
        for name, parameter in parameters.items():
            state = {"value": parameter.detach(), **optimiser.state[parameter]}
            arrays |= {f"{name}/{key}": value.cpu().numpy() for key, value in state.items()}
        arrays |= {f"{name}/{KEPT}": buffer.cpu().numpy() for name, buffer in buffers.items()}
        texts = {
            "format": FORMAT,
            "identity": identity,
            "history": json.dumps(history.as_dict()),
        }
        write_tensors(path, arrays, texts)

    world.on_root(write)


def restore(
    path: Path,
    identity: str,
    parameters: Mapping[str, nn.Parameter],
    buffers: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    world: World,
) -> History:
    """Put back what `save_checkpoint` wrote, if there is a checkpoint of this `identity`.

    Gives the history so far; an empty one if training starts anew, as it does when the
    checkpoint is of another training or damaged (it says so). Collective.
    """
    found = world.on_root(lambda: _read(path, identity, world))
    if found is None:
        return History()
    arrays, history = found
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    with torch.no_grad():
        for name, buffer in buffers.items():
            buffer.copy_(tensors[f"{name}/{KEPT}"])
    for name, parameter in parameters.items():
        with torch.no_grad():
            parameter.copy_(tensors[f"{name}/value"])
        if f"{name}/step" not in tensors:
            continue  # no step has used it yet
        # `step` stays on the CPU, where Adam keeps it; moments lie as their parameter does.
        optimiser.state[parameter] = {
            key: tensors[f"{name}/{key}"].clone()
            if key == "step"
            else torch.empty_like(parameter).copy_(tensors[f"{name}/{key}"])
            for key in MOMENTS
        }
    return history


def _read(path: Path, identity: str, world: World) -> tuple[dict[str, AnyArray], History] | None:
    """Arrays and history of a checkpoint that can be used; None, and why, otherwise."""
    if not path.exists():
        return None
    try:
        arrays, texts = read_tensors(path, FORMAT, "checkpoint")
    except CaseError as error:
        world.say(f"not used: {error}")
        return None
    if texts["identity"] != identity:
        world.say(f"{path}: of another training, not used")
        return None
    return arrays, History.from_dict(json.loads(texts["history"]))
