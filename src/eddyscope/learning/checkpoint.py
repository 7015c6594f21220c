"""Checkpoints of training, at any step: trained parameters, Adam's moments, buffers, curves, and
the best weights so far where these are kept. No pickle.

Reading never removes one: a checkpoint that cannot be used is passed over, and it is said why.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from eddyscope.artefacts.tensor_file import read_tensors, write_tensors
from eddyscope.config.arrays import AnyArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.learning.history import History
from eddyscope.parallel.world import World

__all__ = ["Checkpoints", "Position", "Saved", "State"]

FORMAT = "eddyscope-training-5"

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""Adam's state of each parameter, as torch names it."""

KEPT, BEST = "kept", "best"
"""Of a buffer, such as a running mean: its value; of what is trained or kept, its best so far."""

WAIT_FOR_COST = 50.0
"""Times what the last checkpoint took that pass before the next: 2 % of the wall time at most."""


@dataclass(frozen=True)
class Saved:
    """Where training leaves its checkpoints, and whose they are."""

    path: Path
    identity: str
    """Of all that decides the result; a checkpoint of another identity is not used."""
    seconds: float = 60.0
    """Least wall time between checkpoints."""
    logs: Sequence[Section] = ()
    """Settings of what is written beside the model, see `learning/logs.py`."""


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
    best: dict[str, Tensor] = field(default_factory=dict)
    """What was trained and kept at the best point so far, by full name; nothing if the last is
    the result."""


@dataclass(frozen=True)
class State:
    """What a training changes, by full name."""

    parameters: Mapping[str, nn.Parameter]
    buffers: Mapping[str, Tensor]
    optimiser: torch.optim.Optimizer

    @property
    def values(self) -> dict[str, Tensor]:
        """Parameters and buffers."""
        return {**{name: p.detach() for name, p in self.parameters.items()}, **self.buffers}


class Checkpoints:
    """The checkpoints of one training. All calls collective but `due`."""

    def __init__(self, saved: Saved | None, state: State, world: World):
        self.saved, self.state, self.world = saved, state, world
        self.last, self.cost = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether the time has come, by this rank's clock; the ranks must agree on it."""
        if self.saved is None or not self.world.is_root:
            return False
        wait = max(self.saved.seconds, WAIT_FOR_COST * self.cost)
        return time.monotonic() - self.last >= wait

    def save(self, position: Position) -> None:
        """Replace the checkpoint, whole or not at all."""
        if self.saved is None:
            return
        began, saved = time.monotonic(), self.saved
        met = self.world.comm.allgather(position.met)
        texts = {
            "format": FORMAT,
            "identity": saved.identity,
            "history": json.dumps(position.history.as_dict()),
            "step": str(position.step),
            "met": json.dumps(met),
            "met_samples": str(position.met_samples),
        }
        self.world.on_root(lambda: write_tensors(saved.path, self._arrays(position), texts))
        self.last = time.monotonic()
        self.cost = self.last - began

    def _arrays(self, position: Position) -> dict[str, AnyArray]:
        arrays: dict[str, AnyArray] = {}
        for name, parameter in self.state.parameters.items():
            state = {"value": parameter.detach(), **self.state.optimiser.state[parameter]}
            arrays |= {f"{name}/{key}": value.cpu().numpy() for key, value in state.items()}
        buffers = self.state.buffers.items()
        arrays |= {f"{name}/{KEPT}": buffer.cpu().numpy() for name, buffer in buffers}
        best = position.best.items()
        return arrays | {f"{name}/{BEST}": value.cpu().numpy() for name, value in best}

    def restored(self) -> Position:
        """Put back what `save` wrote, if there is a checkpoint of this identity.

        Gives how far it was; the very start if training starts anew, as it does when the
        checkpoint is of another training or damaged (it says so).
        """
        found = self.world.on_root(self._read)
        if found is None:
            return Position()
        arrays, texts = found
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        with torch.no_grad():
            for name, buffer in self.state.buffers.items():
                buffer.copy_(tensors[f"{name}/{KEPT}"])
            for name, parameter in self.state.parameters.items():
                parameter.copy_(tensors[f"{name}/value"])
        for name, parameter in self.state.parameters.items():
            if f"{name}/step" not in tensors:
                continue  # no step has used it yet
            # `step` stays on the CPU, where Adam keeps it; moments lie as their parameter does.
            self.state.optimiser.state[parameter] = {
                key: tensors[f"{name}/{key}"].clone()
                if key == "step"
                else torch.empty_like(parameter).copy_(tensors[f"{name}/{key}"])
                for key in MOMENTS
            }
        best = {n.removesuffix(f"/{BEST}"): t for n, t in tensors.items() if n.endswith(f"/{BEST}")}
        return _position(texts, best, self.world)

    def _read(self) -> tuple[dict[str, AnyArray], Mapping[str, str]] | None:
        """Arrays and texts of a checkpoint that can be used; None, and why, otherwise."""
        if self.saved is None or not self.saved.path.exists():
            return None
        try:
            arrays, texts = read_tensors(self.saved.path, FORMAT, "checkpoint")
        except CaseError as error:
            self.world.say(f"not used: {error}")
            return None
        if texts["identity"] != self.saved.identity:
            self.world.say(f"{self.saved.path}: of another training, not used")
            return None
        return arrays, texts


def _position(texts: Mapping[str, str], best: dict[str, Tensor], world: World) -> Position:
    """What a checkpoint says; each rank goes on with its own sum where there are as many ranks, and
    else the first with all."""
    met = json.loads(texts["met"])
    if len(met) != world.size:
        met = [sum(met), *[0.0] * (world.size - 1)]
    history = History.from_dict(json.loads(texts["history"]))
    samples = int(texts["met_samples"])
    return Position(int(texts["step"]), history, met[world.rank], samples, best)
