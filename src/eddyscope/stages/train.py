"""`eddyscope train`: the base network, on the base system's training members.

Reads base/dataset.h5 and normalisation/base.json. Writes models/base.safetensors
(`artefacts/model.py`) and, while it trains, models/base.ckpt. Called again after a kill, it
goes on from there.
"""

from __future__ import annotations

from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.config.errors import CaseError
from eddyscope.networks.costs import CORE_RATE, layer_parameters, total_parameters, training_flops
from eddyscope.parallel.failure import agree
from eddyscope.parallel.progress import Progress, duration
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import perform_normalised


class Train:
    """Trains the base model."""

    name = "train"
    summary = "train the base network"

    def plan(self, job: Job) -> list[str]:
        """What would be trained and what it costs, a line each. Raises CaseError."""
        case = job.case
        count, validation = self._check(case)
        n, training = case.network_grid, case.training
        steps = -(-count // training.batch_size)
        flops = training_flops(case.network, case.channels, n)
        seconds = training.epochs * (count + validation / 3) * flops / CORE_RATE / job.world.size
        memory = 4 * len(case.channels.names) * n * n * (count + validation)
        weights = total_parameters(case.network, case.channels, n)
        by_layer = layer_parameters(case.network, case.channels, n)
        largest = max(by_layer, key=lambda name: by_layer[name])
        return [
            f"network: {case.network.kind}, {len(case.layer_names)} layers, "
            f"{weights} parameters, most of them in {largest} ({by_layer[largest]})",
            f"samples: {count} for training, {validation} for validation, {n} x {n} points, "
            f"{memory / 2**20:.1f} MiB on each rank",
            f"steps: {training.epochs} epochs x {steps} batches of {training.batch_size} on "
            f"{job.world.size} rank(s) together",
            f"time: about {duration(seconds)} on CPU cores, one a rank",
            f"writes models/base.safetensors, {4 * weights / 2**20:.2f} MiB",
        ]

    def run(self, job: Job) -> None:
        """Train, unless it is done. Collective."""
        self._check(job.case)
        step = Step(
            self.name,
            sections=("network", "training", "filter", "seeds.training"),
            inputs=(job.dataset("base"), job.normalisation("base")),
            outputs=(job.base_model,),
            scratch=(job.base_model.with_suffix(".ckpt"),),
        )
        perform_normalised(job, step, lambda: _train(job, step))

    def _check(self, case: Case) -> tuple[int, int]:
        """Samples to train on and to validate with. Raises CaseError."""
        ensemble = case.system("base").ensemble
        members = len(ensemble.parts["train"])
        available = members * ensemble.samples
        count = case.training.samples or available
        if count > available:
            raise CaseError(
                f"training.samples = {count}, but the base ensemble has {available} training "
                f"samples ({members} members of {ensemble.samples}); lower it, or raise "
                "base.ensemble.members or samples"
            )
        return count, len(ensemble.parts["validation"]) * ensemble.samples


def _train(job: Job, step: Step) -> None:
    from eddyscope.learning.base_model import BaseTraining
    from eddyscope.learning.trainer import Recipe

    case, training = job.case, job.case.training
    recipe = Recipe(
        epochs=training.epochs,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        key=(case.seeds.training, 0),
        rotations=training.rotations,
        checkpoint_every=training.checkpoint_every,
    )
    work = BaseTraining(
        network=case.network,
        channels=case.channels,
        n=case.network_grid,
        count=training.samples,
        recipe=recipe,
        path=job.base_model,
        identity=job.identity(step),
        provenance=job.provenance(),
    )
    normalisation = agree(job.world.comm, lambda: read_normalisation(job.normalisation("base")))
    progress = Progress(job.world, "train: epoch", recipe.epochs)
    work.make(job.dataset("base"), normalisation, job.world, progress.update)


STAGE = Train()
