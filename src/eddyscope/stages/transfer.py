"""`eddyscope transfer`: adapt the base model to a few target samples, in every way asked for.

Reads models/base.safetensors, target/dataset.h5 and normalisation/target.json. Writes one
artefact a model (`artefacts/model.py`), as soon as it is done, under its name
(`artefacts/key.py`): models/transfer/l02.safetensors, "l02+l05", gain, all, scratch, scale, …,
repeats as "l02,seed=1". Each holds its training curves, `retrained` layers and `metrics`.

The ranks are dealt to groups; each group makes its models, data-parallel. A killed stage
called again makes the models that are missing, and goes on with those half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.config.errors import CaseError
from eddyscope.networks.costs import CORE_RATE, total_parameters, training_flops
from eddyscope.parallel.failure import agree
from eddyscope.parallel.progress import duration
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import perform_normalised

if TYPE_CHECKING:
    from eddyscope.learning.retrain import Retraining

SECTIONS = ("network", "training.batch_size", "training.learning_rate", "training.rotations",
            "transfer", "filter")  # fmt: skip


class Transfer:
    """Makes every model that a case compares, from the base model."""

    name = "transfer"
    summary = "re-train each layer, and the controls, on a few target samples"

    def plan(self, job: Job) -> list[str]:
        """What would be made and what it costs, a line each. Raises CaseError."""
        case = job.case
        self._check(case)
        transfer, models = case.transfer, case.transfer_models
        groups = min(job.world.size, len(models))
        batch = transfer.batch_size or case.training.batch_size
        steps = -(-transfer.samples // batch)
        network = case.network, case.channels, case.network_grid
        flops = training_flops(*network)
        trained = sum(adaptation.is_trained for adaptation in models.values())
        work = transfer.epochs * trained * transfer.samples * flops
        weights = 4 * total_parameters(*network)
        names = dict.fromkeys(key.adaptation for key in models)
        return [
            f"models: {len(models)} ({', '.join(names)}; {transfer.seeds} seed(s))",
            f"samples: {transfer.samples} of the target",
            f"steps: {transfer.epochs} epochs x {steps} batches of {batch} a model, in {groups} "
            f"group(s) of ranks (at most {-(-job.world.size // groups)} rank(s) each)",
            f"time: about {duration(work / CORE_RATE / job.world.size)} on CPU cores, one a rank",
            f"writes {len(models)} files of {weights / 2**20:.2f} MiB to models/transfer/",
        ]

    def run(self, job: Job) -> None:
        """Make them, unless it is done. Collective."""
        self._check(job.case)
        step = Step(
            self.name,
            sections=(*SECTIONS, "seeds.transfer"),
            inputs=(job.base_model, job.dataset("target"), job.normalisation("target")),
            outputs=tuple(job.model(key) for key in job.case.transfer_models),
            scratch=(job.transfer_folder,),
        )
        perform_normalised(job, step, lambda: _retraining(job, step).make_all(job.world))

    def _check(self, case: Case) -> None:
        ensemble = case.system("target").ensemble
        members = len(ensemble.parts["train"])
        if case.transfer.samples > members * ensemble.samples:
            raise CaseError(
                f"transfer.samples = {case.transfer.samples}, but the target ensemble has "
                f"{members * ensemble.samples} training samples ({members} members of "
                f"{ensemble.samples}); lower it, or raise target.ensemble.members or samples"
            )


def _retraining(job: Job, step: Step) -> Retraining:
    """What all models have in common. Collective."""
    from eddyscope.learning.models import load_model
    from eddyscope.learning.retrain import Retraining, Target
    from eddyscope.learning.trainer import Recipe

    case, comm, transfer = job.case, job.world.comm, job.case.transfer
    base = agree(comm, lambda: load_model(job.base_model, case.network))
    normalisation = agree(comm, lambda: read_normalisation(job.normalisation("target")))
    dataset = agree(comm, lambda: Dataset(job.dataset("target")))
    n = case.network_grid
    recipe = Recipe(
        epochs=transfer.epochs,
        batch_size=transfer.batch_size or case.training.batch_size,
        learning_rate=transfer.learning_rate or case.training.learning_rate,
        key=(case.seeds.transfer,),
        rotations=case.training.rotations,
        checkpoint_every=case.training.checkpoint_every,
    )
    return Retraining(
        base=base,
        target=agree(comm, lambda: Target.of(dataset, n, transfer.samples, normalisation)),
        models=case.transfer_models,
        recipe=recipe,
        folder=job.models,
        identity=job.identity(step),
        provenance=job.provenance(),
    )


STAGE = Transfer()
