"""Training the base model on the base system's samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eddyscope.artefacts.dataset.reader import Dataset, Source
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import ModelGrid, ModelRecord, Resolved
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.artefacts.role import NOT_ADAPTED
from eddyscope.config.case import Section
from eddyscope.learning.batches import Samples, load_fields
from eddyscope.learning.history import History
from eddyscope.learning.models import Model, save_model
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.retrain import metrics_of
from eddyscope.learning.trainer import Requests, Saved, train
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels, NetworkSettings
from eddyscope.networks.shift import SHIFTED, shift_error, shift_words
from eddyscope.parallel.failure import agree
from eddyscope.parallel.world import World

__all__ = ["BaseTraining"]


@dataclass(frozen=True)
class BaseTraining:
    """How the base model is made and saved."""

    network: NetworkSettings
    channels: Channels
    n: int
    """Points a side of the coarse grid."""
    count: int | None
    """Samples to train on; None for all."""
    recipe: Recipe
    """Its key also draws the weights."""
    path: Path
    """Of the artefact; the checkpoint lies beside it."""
    identity: str
    """Of all that decides the model; a checkpoint of another identity is not used."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 60.0
    """Least wall time between checkpoints."""
    logs: Sequence[Section] = ()
    """Settings of what is written beside the model, see `learning/logs.py`."""

    def make(
        self,
        dataset: Source,
        normalisation: Normalisation,
        world: World,
        report: Callable[[int, str], None],
        requests: Requests | None = None,
    ) -> None:
        """Train on a dataset, and save the model. Collective. Raises CaseError, BlewUp, and
        StoppedEarly if `requests` asked for it."""
        data = agree(world.comm, dataset.open)
        samples, validation = agree(world.comm, lambda: self._samples(data, normalisation))
        saved = Saved(self.path.with_suffix(".ckpt"), self.identity, self.seconds, self.logs)
        network = agree(
            world.comm, lambda: build(self.network, self.channels, self.recipe.key, self.n)
        )
        history = History()
        if self.recipe.steps:  # else the model is what training would begin with
            of_training = samples, validation, self.recipe, world, saved, report
            history = train(network.module, *of_training, network.channels_last, requests)
        count = sum(parameter.numel() for parameter in network.module.parameters())
        round_ = all(data.box.periodic)
        shift = shift_error(network, samples.inputs[:SHIFTED]) if round_ else None
        metrics = metrics_of(history, len(samples), count, world)
        metrics["shift_error"] = shift
        model = Model(network, self._record(data, normalisation, history, metrics))
        world.on_root(lambda: save_model(self.path, model))
        world.on_root(lambda: saved.path.unlink(missing_ok=True))
        for words in [*network.notes, shift_words(shift)]:
            if words:
                world.say(f"train: {words}")

    def _samples(
        self, dataset: Dataset, normalisation: Normalisation
    ) -> tuple[Samples, Samples | None]:
        """Samples to train on and to validate with. Raises CaseError."""
        dataset.require(self.n, "train")
        channels, names = self.channels, self.channels.fields(dataset.layers)
        fields = load_fields(dataset, self.n, "train", self.count, names)
        held_out = load_fields(dataset, self.n, "validation", None, names)
        validation = Samples.of(held_out, normalisation, channels) if held_out.origin else None
        return Samples.of(fields, normalisation, channels), validation

    def _record(
        self,
        dataset: Dataset,
        normalisation: Normalisation,
        history: History,
        metrics: dict[str, float | None],
    ) -> ModelRecord:
        key = ModelKey()
        return ModelRecord(
            key=str(key),
            resolved=Resolved.of(
                key,
                samples=normalisation.samples,
                normalisation=normalisation.name,
                training_seed=self.recipe.key[0],
            ),
            adapted=NOT_ADAPTED,
            network=self.network,
            channels=self.channels,
            normalisation=normalisation,
            grid=ModelGrid(n=self.n, filter_width=dataset.filter_width[self.n]),
            retrained=[],
            history=history.curves,
            metrics=metrics,
            provenance={
                **self.provenance,
                "dataset": dataset.digest,
                "trained_on": [asdict(stretch) for stretch in history.stretches],
            },
        )
