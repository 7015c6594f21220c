"""Models in memory: a network that computes, and the record of what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import ModelRecord, StoredModel, read_model, write_model
from eddyscope.artefacts.normalisation import Normalisation, Way, statistics_of
from eddyscope.config.arrays import RealArray
from eddyscope.config.errors import CaseError
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import build
from eddyscope.networks.settings import NetworkSettings
from eddyscope.networks.state import (
    buffer_names,
    load_state,
    scale_name,
    scale_output,
    scaled_paths,
    state_of,
)

__all__ = ["Model", "changed_layers", "load_model", "save_model", "weights_of"]


@dataclass(frozen=True)
class Model:
    """A network with what its file says of it."""

    network: LayeredModel
    record: ModelRecord
    digest: str = ""
    """Of its file; empty if it has none yet."""

    @property
    def key(self) -> ModelKey:
        return self.record.model_key

    @property
    def normalisation(self) -> Normalisation:
        """As its file holds it: that it was trained with, and its scales."""
        return self.record.normalisation.scaled_by(self.record.scales)

    def normalisation_under(
        self, way: Way, base: Normalisation, own: Normalisation
    ) -> Normalisation:
        """Of a system's fields under a way, with the model's scales; base, own: statistics of the
        base and of that system. Raises CaseError, see `statistics_of`."""
        return statistics_of(way, base, own).scaled_by(self.record.scales)


def save_model(path: Path, model: Model) -> None:
    """Write `model` whole or not at all. Not collective: call it on one rank."""
    network = model.network
    facts = {
        "layers": network.paths,
        "left_out": dict(network.left_out),
        "kept": buffer_names(network.module),
    }
    write_model(path, model.record.model_copy(update=facts), weights_of(network))


def load_model(path: Path, expect: NetworkSettings | None = None) -> Model:
    """Read and check a model; `expect` is the network that the case describes.

    Not collective. Raises CaseError, see `artefacts/model.py`, and for weights that are not
    those of its network.
    """
    stored = read_model(path, expect)
    return Model(_network(path, stored, expect), stored.record, stored.digest)


def weights_of(network: LayeredModel) -> dict[str, RealArray]:
    """All weights of a network as arrays, by full name."""
    tensors = state_of(network.module)
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def changed_layers(before: LayeredModel, after: LayeredModel) -> list[str]:
    """The layers of a network that are not what they were in one like it."""

    def differ(name: str) -> bool:
        parts = zip(before.modules_of(name), after.modules_of(name), strict=True)
        states = [(state_of(old), state_of(new)) for old, new in parts]
        return any(
            old.keys() != new.keys() or any(not torch.equal(old[k], new[k]) for k in old)
            for old, new in states
        )

    return [name for name in before.layers if differ(name)]


def _network(path: Path, stored: StoredModel, expect: NetworkSettings | None) -> LayeredModel:
    """The network that a stored model describes, with its weights, as after training. Raises
    CaseError."""
    record = stored.record
    # A user's file may have been moved since: what `expect` says is as good.
    network = build(expect or record.network, record.channels, None, record.grid.n)
    network.module.eval()
    for scaled in scaled_paths(stored.weights):
        name = scale_name(scaled)
        scale_output(network.module.get_submodule(scaled), torch.from_numpy(stored.weights[name]))
    wanted = {name: tuple(t.shape) for name, t in state_of(network.module).items()}
    found = {name: array.shape for name, array in stored.weights.items()}
    wrong = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        raise CaseError(
            f"{path}: weights {name!r} have shape {found.get(name, 'none')}, but its network needs "
            f"{wanted.get(name, 'none')}; make it again with --fresh"
        )
    tensors = {name: torch.from_numpy(array) for name, array in stored.weights.items()}
    for name, own in state_of(network.module).items():
        if tensors[name].dtype != own.dtype:
            raise CaseError(
                f"{path}: {name!r} is {tensors[name].dtype}, but its network needs {own.dtype}; "
                "make it again with --fresh"
            )
    load_state(network.module, tensors)
    return network
