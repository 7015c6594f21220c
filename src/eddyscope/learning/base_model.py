"""Training the base model on the base system's samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eddyscope.artefacts.dataset.reader import Dataset, Source
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import ModelGrid, ModelRecord, Resolved
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.artefacts.role import NOT_ADAPTED
from eddyscope.config.case import Section
from eddyscope.learning.batches import Selection
from eddyscope.learning.history import History
from eddyscope.learning.models import Model, save_model
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.retrain import metrics_of
from eddyscope.learning.sample_memory import SampleMemory
from eddyscope.learning.supply import Streamed, Supply, in_memory
from eddyscope.learning.trainer import Requests, Saved, train
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels, NetworkSettings
from eddyscope.networks.shift import shift_error, shift_words
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
    memory: float | None = None
    """GiB of a machine that samples may take, see `TrainingSettings`."""

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
        chosen = agree(world.comm, lambda: self._chosen(data))
        sizes = len(chosen[0]), len(chosen[1])
        shape = (len(self.channels.names), *data.points[self.n])
        memory = SampleMemory.of(world, sizes, shape, self.recipe.batch_size, self.memory)
        if not memory.holds_all:
            world.say(f"train: samples: {memory.words}")
        with ExitStack() as stack:

            def supply(selection: Selection) -> Supply:
                given = world, selection, normalisation, self.channels
                return (
                    stack.enter_context(in_memory(*given))
                    if memory.holds_all
                    else Streamed.of(*given)
                )

            samples, validation = (supply(found) if len(found) else None for found in chosen)
            assert samples is not None  # a dataset has samples to train on, or is refused
            self._train(samples, validation, data, normalisation, world, report, requests)

    def _chosen(self, dataset: Dataset) -> tuple[Selection, Selection]:
        """Samples to train on and to validate with. Raises CaseError."""
        dataset.require(self.n, "train")
        names = self.channels.fields(dataset.layers)
        return (
            Selection.of(dataset, self.n, "train", self.count, names),
            Selection.of(dataset, self.n, "validation", None, names),
        )

    def _train(
        self,
        samples: Supply,
        validation: Supply | None,
        data: Dataset,
        normalisation: Normalisation,
        world: World,
        report: Callable[[int, str], None],
        requests: Requests | None,
    ) -> None:
        """Train and save. Collective."""
        saved = Saved(self.path.with_suffix(".ckpt"), self.identity, self.seconds, self.logs)
        network = agree(
            world.comm, lambda: build(self.network, self.channels, self.recipe.key, self.n)
        )
        history = History()
        if self.recipe.steps:  # else the model is what training would begin with
            of_training = samples, validation, self.recipe, world, saved, report
            history = train(network.module, *of_training, network.channels_last, requests)
        count = sum(parameter.numel() for parameter in network.module.parameters())
        shift = shift_error(network, samples.first.inputs) if all(data.box.periodic) else None
        metrics = metrics_of(history, len(samples), count, world)
        metrics["shift_error"] = shift
        model = Model(network, self._record(data, normalisation, history, metrics))
        world.on_root(lambda: save_model(self.path, model))
        world.on_root(lambda: saved.path.unlink(missing_ok=True))
        for words in [*network.notes, shift_words(shift)]:
            if words:
                world.say(f"train: {words}")

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
