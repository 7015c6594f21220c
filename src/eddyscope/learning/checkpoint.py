"""Checkpoints of training, at any step: trained parameters, Adam's moments, buffers, curves. No
pickle.

Reading never removes one: a checkpoint that cannot be used is passed over, and it is said why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from eddyscope.artefacts.tensor_file import read_tensors, write_tensors
from eddyscope.config.arrays import AnyArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.history import History
from eddyscope.parallel.world import World

__all__ = ["Position", "restore", "save_checkpoint"]

FORMAT = "eddyscope-training-4"

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""Adam's state of each parameter, as torch names it."""


KEPT = "kept"
"""Of a buffer, such as a running mean: its value."""


@dataclass
class Position:
    """How far a training is."""

    step: int = 0
    """Steps done."""
    history: History = field(default_factory=History)
    met: float = 0.0
    """Sum of the losses of this rank's samples since the last point of the curves."""
    met_samples: int = 0
    """Samples since then, of all ranks."""


def save_checkpoint(
    path: Path,
    identity: str,
    parameters: Mapping[str, nn.Parameter],
    buffers: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    position: Position,
    world: World,
) -> None:
    """Replace the checkpoint at `path`, whole or not at all. Collective."""
    met = world.comm.allgather(position.met)

    def write() -> None:
        arrays: dict[str, AnyArray] = {}
        for name, parameter in parameters.items():
            state = {"value": parameter.detach(), **optimiser.state[parameter]}
            arrays |= {f"{name}/{key}": value.cpu().numpy() for key, value in state.items()}
        arrays |= {f"{name}/{KEPT}": buffer.cpu().numpy() for name, buffer in buffers.items()}
        texts = {
            "format": FORMAT,
            "identity": identity,
            "history": json.dumps(position.history.as_dict()),
            "step": str(position.step),
            "met": json.dumps(met),
            "met_samples": str(position.met_samples),
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
) -> Position:
    """Put back what `save_checkpoint` wrote, if there is a checkpoint of this `identity`.

    Gives how far it was; the very start if training starts anew, as it does when the
    checkpoint is of another training or damaged (it says so). Collective.
    """
    found = world.on_root(lambda: _read(path, identity, world))
    if found is None:
        return Position()
    arrays, texts = found
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
    return _position(texts, world)


def _position(texts: Mapping[str, str], world: World) -> Position:
    """What a checkpoint says; each rank goes on with its own sum where there are as many ranks, and
    else the first with all."""
    met = json.loads(texts["met"])
    if len(met) != world.size:
        met = [sum(met), *[0.0] * (world.size - 1)]
    history = History.from_dict(json.loads(texts["history"]))
    return Position(int(texts["step"]), history, met[world.rank], int(texts["met_samples"]))


def _read(
    path: Path, identity: str, world: World
) -> tuple[dict[str, AnyArray], Mapping[str, str]] | None:
    """Arrays and texts of a checkpoint that can be used; None, and why, otherwise."""
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
    return arrays, texts
