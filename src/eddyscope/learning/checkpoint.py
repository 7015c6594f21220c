"""Checkpoints of training: trained parameters, Adam's moments, epoch and curves. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from eddyscope.artefacts.model import read_tensors, tensors_digest
from eddyscope.config.errors import CaseError
from eddyscope.learning.history import History
from eddyscope.parallel.world import World
from eddyscope.storage.atomic import write_atomically

__all__ = ["restore", "save_checkpoint"]

FORMAT = "eddyscope-training-1"

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""Adam's state of each parameter, as torch names it."""


def save_checkpoint(
    path: Path,
    identity: str,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    history: History,
    world: World,
) -> None:
    """Replace the checkpoint at `path`, whole or not at all. Collective."""

    def write() -> None:
        tensors: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            state = {"value": parameter.detach(), **optimiser.state[parameter]}
            tensors |= {f"{name}/{key}": value.cpu().contiguous() for key, value in state.items()}
        metadata = {
            "format": FORMAT,
            "identity": identity,
            "history": json.dumps(history.as_dict()),
            "weights_digest": tensors_digest(tensors),
        }
        write_atomically(path, save(tensors, metadata))

    world.on_root(write)


def restore(
    path: Path,
    identity: str,
    parameters: Mapping[str, nn.Parameter],
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
    tensors, history = found
    for name, parameter in parameters.items():
        with torch.no_grad():
            parameter.copy_(tensors[f"{name}/value"])
        # `step` stays on the CPU, where Adam keeps it; moments lie as their parameter does.
        optimiser.state[parameter] = {
            key: tensors[f"{name}/{key}"].clone()
            if key == "step"
            else torch.empty_like(parameter).copy_(tensors[f"{name}/{key}"])
            for key in MOMENTS
        }
    return history


def _read(path: Path, identity: str, world: World) -> tuple[dict[str, Tensor], History] | None:
    if not path.exists():
        return None
    try:
        tensors, metadata = read_tensors(path, FORMAT, "checkpoint")
    except CaseError as error:
        world.say(f"not used: {error}")
        return None
    if metadata["identity"] != identity:
        world.say(f"{path}: of another training, not used")
        return None
    return tensors, History(**json.loads(metadata["history"]))
