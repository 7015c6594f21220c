"""`eddyscope train`: the base network, on the base system's training members.

Reads base/dataset.h5 and normalisation/base.json. Writes models/base.safetensors
(`artefacts/model.py`), models/base.metrics.jsonl (`learning/logs.py`) and, while it trains,
models/base.ckpt. Called again after a kill, or a stop on request (a signal, a file STOP, the wall
time), it goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eddyscope.artefacts.normalisation import read_normalisation, statistics_of
from eddyscope.config.errors import CaseError
from eddyscope.learning.recipes import check_logs, recipe_of_training
from eddyscope.learning.sample_memory import SampleMemory
from eddyscope.networks.costs import CORE_RATE, layer_parameters, total_parameters, training_flops
from eddyscope.parallel.failure import agree
from eddyscope.parallel.progress import Progress, duration
from eddyscope.parallel.stop import StopRequests
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step, Work, by_networks
from eddyscope.stages.normalise import normalise
from eddyscope.stages.stage import Stage

if TYPE_CHECKING:
    from eddyscope.learning.base_model import BaseTraining

SCRATCH = (".ckpt", ".metrics.jsonl", ".tensorboard")
"""Endings of what lies beside the base model's file."""


class Train(Stage):
    """Trains the base model."""

    name = "train"
    summary = "train the base network"

    def plan(self, job: Job) -> list[str]:
        """What would be trained and what it costs, a line each. Raises CaseError."""
        case = job.case
        if case.training.model:
            return []
        n, training = case.network_grid, case.training
        count, ensemble = case.training_samples("base"), case.system("base").ensemble
        validation = ensemble.count("validation")
        check_logs(training)
        if training.keep == "best" and not validation:
            raise CaseError(
                'training.keep = "best", but the base ensemble has no validation members; set '
                'base.ensemble.split, or training.keep = "last"'
            )
        flops = training_flops(case.network, case.channels, n)
        seconds = training.epochs * (count + validation / 3) * flops / CORE_RATE / job.world.size
        sizes = (count, validation), case.sample_shape("base"), training.batch_size
        memory = SampleMemory.of(job.world, *sizes, training.memory)
        weights = total_parameters(case.network, case.channels, n)
        by_layer = layer_parameters(case.network, case.channels, n)
        largest = max(by_layer, key=lambda name: by_layer[name])
        return [
            f"network: {case.network.kind}, {len(case.layer_names)} layers, "
            f"{weights} parameters, most of them in {largest} ({by_layer[largest]})",
            f"samples: {memory.words}",
            f"steps: {training.epochs} epochs x {-(-count // training.batch_size)} batches of "
            f"{training.batch_size} on {job.world.size} rank(s) together",
            f"time: about {duration(seconds)} on CPU cores, one a rank",
            f"writes models/base.safetensors, {4 * weights / 2**20:.2f} MiB",
        ]

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """One step. Collective."""
        case, world, facts = job.case, job.world, job.provenance()
        if case.training.model:
            return []
        case.training_samples("base")
        dataset, own = job.dataset("base"), job.normalisation("base")
        step = Step(
            self.name,
            sections=("network", "training", "filter", "seeds.training", "base.ensemble.split"),
            inputs=(dataset, own),
            outputs=(job.base_model,),
            scratch=tuple(map(job.base_model.with_suffix, SCRATCH)),
        )

        def train(_: Sequence[Step]) -> None:
            training = training_of(case, job.base_model, job.identity(step), facts)
            stored = agree(world.comm, lambda: read_normalisation(own))
            normalisation = statistics_of(case.training.normalisation, stored, stored)
            progress = Progress(world, "train: step", training.recipe.steps)
            with StopRequests(world, [job.out, job.models], case.stop) as requests:
                training.make(job.source("base"), normalisation, world, progress.update, requests)

        return [*normalise(job, self.name, ["base"]), Work([step], train, by_networks())]

    def notes(self, job: Job) -> list[str]:
        case = job.case
        if case.training.model:
            return [f"the base model is named, not trained: {case.training.model}"]
        walls = [s for s, named in case.named.items() if not all(named.box.periodic)]
        if not walls or getattr(case.network, "padding", "") != "circular":
            return []
        return [
            f"warning: the fields of {' and '.join(walls)} have walls, but the network goes on "
            'beyond them as if they were periodic; set network.padding = "zeros"'
        ]


def training_of(case: Case, path: Path, identity: str, facts: Mapping[str, object]) -> BaseTraining:
    """How a case's base model is made; path, identity, facts: see there."""
    from eddyscope.learning.base_model import BaseTraining

    training, count = case.training, case.training_samples("base")
    return BaseTraining(
        network=case.network,
        channels=case.channels,
        n=case.network_grid,
        count=training.samples,
        recipe=recipe_of_training(training, count, case.seeds, case.channels),
        path=path,
        identity=identity,
        provenance=facts,
        seconds=case.checkpoint.seconds,
        logs=case.training.log,
        memory=case.training.memory,
    )


STAGE = Train()
