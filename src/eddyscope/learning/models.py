"""Models in memory: a network that computes, and the record of what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import ModelRecord, StoredModel, read_model, write_model
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import RealArray
from eddyscope.config.errors import CaseError
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import build
from eddyscope.networks.settings import NetworkSettings

__all__ = ["Model", "load_model", "save_model", "weights_of"]


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
        """That it was trained with."""
        return self.record.normalisation


def save_model(path: Path, model: Model) -> None:
    """Write `model` whole or not at all. Not collective: call it on one rank."""
    write_model(path, model.record, weights_of(model.network))


def load_model(path: Path, expect: NetworkSettings | None = None) -> Model:
    """Read and check a model; `expect` is the network that the case describes.

    Not collective. Raises CaseError, see `artefacts/model.py`, and for weights that are not
    those of its network.
    """
    stored = read_model(path, expect)
    return Model(_network(path, stored), stored.record, stored.digest)


def weights_of(network: LayeredModel) -> dict[str, RealArray]:
    """All weights of a network as arrays, by full name."""
    tensors = network.module.state_dict()
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def _network(path: Path, stored: StoredModel) -> LayeredModel:
    """The network that a stored model describes, with its weights. Raises CaseError."""
    network = build(stored.record.network, stored.record.channels, None)
    wanted = {name: tuple(t.shape) for name, t in network.module.state_dict().items()}
    found = {name: array.shape for name, array in stored.weights.items()}
    wrong = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        raise CaseError(
            f"{path}: weights {name!r} have shape {found.get(name, 'none')}, but its network needs "
            f"{wanted.get(name, 'none')}; make it again with --fresh"
        )
    network.module.load_state_dict({n: torch.from_numpy(a) for n, a in stored.weights.items()})
    return network
