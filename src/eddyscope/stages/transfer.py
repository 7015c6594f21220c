"""`eddyscope transfer`: adapt the base model to a few target samples, in every way asked for.

Reads models/base.safetensors, target/dataset.h5 and normalisation/target.json. Writes one
artefact a model (`artefacts/model.py`), as soon as it is done, under its name
(`artefacts/key.py`): models/transfer/l02.safetensors, "l02+l05", gain, all, scratch, scale, …,
repeats as "l02,seed=1". Each holds its training curves, `retrained` layers and `metrics`.

The ranks are dealt to groups; each group makes its models, data-parallel. A killed stage
called again makes the models that are missing, and goes on with those half done. So does one
whose case asks for more models.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.learning.recipe import recipe_of_transfer
from eddyscope.networks.costs import CORE_RATE, total_parameters, training_flops
from eddyscope.parallel.failure import agree
from eddyscope.parallel.progress import duration
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step, Work, by_networks
from eddyscope.stages.normalise import normalise
from eddyscope.stages.stage import Stage

if TYPE_CHECKING:
    from eddyscope.learning.models import Model
    from eddyscope.learning.retrain import Retraining, Target

SECTIONS = ("network", "training.batch_size", "training.rotations",
            "transfer", "seeds.transfer", "filter", "target.ensemble.split")  # fmt: skip


class Transfer(Stage):
    """Makes every model that a case compares, from the base model."""

    name = "transfer"
    summary = "re-train each layer, and the controls, on a few target samples"

    def plan(self, job: Job) -> list[str]:
        """What would be made and what it costs, a line each. Raises CaseError."""
        case = job.case
        case.training_samples("target")
        transfer, models = case.transfer, case.transfer_models
        groups = min(job.world.size, len(models))
        recipe = recipe_of_transfer(transfer, case.training, case.seeds)
        network = case.network, case.channels, case.network_grid
        flops = training_flops(*network)
        trained = sum(adaptation.is_trained for adaptation in models.values())
        work = recipe.steps * min(recipe.batch_size, transfer.samples) * trained * flops
        weights = 4 * total_parameters(*network)
        names = dict.fromkeys(key.adaptation for key in models)
        return [
            f"models: {len(models)} ({', '.join(names)}; {transfer.seeds} seed(s))",
            f"samples: {transfer.samples} of the target",
            f"steps: {recipe.steps} batches of {recipe.batch_size} a model, in {groups} group(s) "
            f"of ranks (at most {-(-job.world.size // groups)} rank(s) each)",
            f"time: about {duration(work / CORE_RATE / job.world.size)} on CPU cores, one a rank",
            f"writes {len(models)} files of {weights / 2**20:.2f} MiB to models/transfer/",
        ]

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """One step for all models. Collective."""
        case, world, facts = job.case, job.world, job.provenance()
        case.training_samples("target")
        base, dataset, own = job.base_model, job.dataset("target"), job.normalisation("target")
        step = Step(
            self.name,
            sections=SECTIONS,
            inputs=(base, dataset, own),
            outputs=tuple(job.model(key) for key in case.transfer_models),
            scratch=(job.transfer_folder,),
        )

        def make(_: Sequence[Step]) -> None:
            shared = agree(world.comm, lambda: _read(case, base, job.source("target"), own))
            _retraining(case, *shared, job.models, job.identity(step), facts).make_all(world)

        return [*normalise(job, self.name, ["target"]), Work([step], make, by_networks())]


def _read(case: Case, base: Path, dataset: Source, own: Path) -> tuple[Model, Target]:
    """The base model and the target's samples. Not collective. Raises CaseError."""
    from eddyscope.learning.models import load_model
    from eddyscope.learning.retrain import Target

    model = load_model(base, case.network)
    n, count = case.network_grid, case.transfer.samples
    return model, Target.of(dataset.open(), n, count, read_normalisation(own), case.channels)


def _retraining(
    case: Case,
    base: Model,
    target: Target,
    folder: Path,
    identity: str,
    facts: Mapping[str, object],
) -> Retraining:
    """What all models have in common; folder, identity, facts: see there."""
    from eddyscope.learning.retrain import Retraining

    recipe = recipe_of_transfer(case.transfer, case.training, case.seeds)
    return Retraining(base, target, case.transfer_models, recipe, folder, identity, facts)


STAGE = Transfer()
