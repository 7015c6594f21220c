"""`eddyscope transfer`: adapt the base model to a few target samples, in every way asked for.

Reads models/base.safetensors, target/dataset.h5 and normalisation/target.json; base/dataset.h5
for those models that see samples of the base again, in a step of their own. Writes one
artefact a model (`artefacts/model.py`), as soon as it is done, under its name
(`artefacts/key.py`): models/transfer/l02.safetensors, "l02+l05", gain, all, scratch, scale, …,
repeats as "l02,seed=1". Each holds its training curves, `retrained` layers and `metrics`.

Groups of ranks make their models, data-parallel. A killed stage called again, or one whose case
asks for more models, makes those that are missing, and goes on with those half done.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eddyscope.artefacts.normalisation import Way, read_normalisation, statistics_of
from eddyscope.learning.choice import Choosing
from eddyscope.learning.recipes import check_logs, recipe_of_transfer
from eddyscope.learning.selection import check_numbers, trainings_of
from eddyscope.networks.costs import CORE_RATE, layer_parameters, total_parameters, training_flops
from eddyscope.parallel.failure import agree
from eddyscope.parallel.progress import duration
from eddyscope.parallel.stop import StopRequests
from eddyscope.stages.job import Job, Step, Work, by_networks
from eddyscope.stages.normalise import normalise
from eddyscope.stages.stage import Stage

if TYPE_CHECKING:
    from eddyscope.learning.models import Model

SHARED = ("batch_size", "rotations", "reflections", "loss", "noise", "accumulate", "precision",
          "compile", "reproducible")  # fmt: skip
"""Settings of training that hold for re-training too."""

SCRATCH = (".ckpt", ".choice.json", ".metrics.jsonl", ".tensorboard")
"""Endings of what lies beside a model's file."""

SECTIONS = ("network", *(f"training.{name}" for name in SHARED),
            "transfer", "seeds.transfer", "filter", "target.ensemble.split")  # fmt: skip


class Transfer(Stage):
    """Makes every model that a case compares, from the base model."""

    name = "transfer"
    summary = "re-train each layer, and the controls, on a few target samples"

    def plan(self, job: Job) -> list[str]:
        """What would be made and what it costs, a line each. Raises CaseError."""
        case = job.case
        case.training_samples("target")
        check_logs(case.training)
        transfer, models = case.transfer, case.transfer_models
        groups = min(job.world.size, len(models))
        recipe = recipe_of_transfer(transfer, case.training, case.seeds, case.channels)
        network = case.network, case.channels, case.network_grid
        trainings = trainings_of(transfer, models)
        work = trainings.count * recipe.steps * training_flops(*network)
        seconds = work * min(recipe.batch_size, transfer.samples) / CORE_RATE / job.world.size
        weights = 4 * total_parameters(*network)
        names = dict.fromkeys(key.adaptation for key in models)
        return [
            f"models: {len(models)} ({', '.join(names)}; {transfer.seeds} seed(s))",
            f"samples: {transfer.samples} of the target, normalisation: {transfer.normalisation}",
            *trainings.words,
            f"steps: {recipe.steps} batches of {recipe.batch_size} a model, in {groups} group(s) "
            f"of ranks (at most {-(-job.world.size // groups)} rank(s) each)",
            f"time: about {duration(seconds)} on CPU cores, one a rank",
            f"writes {len(models)} files of {weights / 2**20:.2f} MiB to models/transfer/",
        ]

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """One step for all models that see the target alone, one for the others. Collective."""
        case = job.case
        case.training_samples("target")
        sizes = partial(layer_parameters, case.network, case.channels, case.network_grid)
        of_base = case.system("base").ensemble.training_samples
        check_numbers(case.transfer_models.values(), sizes, case.transfer.samples, of_base)
        kinds = sorted(set(map(case.transfer.reads_base, case.transfer_models.values())))
        return [*normalise(job, self.name, ["target"]), *(_work(job, kind) for kind in kinds)]


def _work(job: Job, with_base: bool) -> Work:
    """The step of those models that see samples of the base again, or of the others."""
    case, world, facts = job.case, job.world, job.provenance()
    base, own = job.base_model, job.normalisation("target")
    reads_base, every = case.transfer.reads_base, case.transfer_models
    models = {key: made for key, made in every.items() if reads_base(made) == with_base}
    outputs = tuple(job.model(key) for key in models)
    beside = [path.with_suffix(end) for path in outputs for end in SCRATCH]
    step = Step(
        "transfer.with_base" if with_base else "transfer",
        sections=SECTIONS,
        inputs=(base, job.dataset("target"), own, *[job.source("base").path] * with_base),
        outputs=outputs,
        scratch=beside if with_base else (job.transfer_folder,),
    )

    def make(_: Sequence[Step]) -> None:
        from eddyscope.learning.models import load_model
        from eddyscope.learning.retrain import Retraining, Target, samples_of_base

        way = case.transfer.normalisation
        ways = {made.way or way for made in models.values()}

        def read() -> tuple[Model, dict[Way, Target]]:
            model = load_model(base, case.network)
            known = model.record.normalisation, read_normalisation(own)
            by = {way: statistics_of(way, *known) for way in sorted(ways)}
            given = job.source("target").open(), case.network_grid, case.transfer.samples
            return model, Target.under(by, *given, case.channels)

        model, targets = agree(world.comm, read)
        recipe = recipe_of_transfer(case.transfer, case.training, case.seeds, case.channels)
        of_base = partial(samples_of_base, lambda: job.source("base").open(), model, way)
        origin, kept = next(iter(targets.values())).origin, case.checkpoint.seconds
        choosing = Choosing.of(case.transfer, origin)
        told = job.models, job.identity(step), of_base, facts, kept, case.training.log
        with StopRequests(world, [job.out, job.models], case.stop) as requests:
            making = Retraining(model, targets, way, models, recipe, choosing, *told)
            making.make_all(world, requests)

    return Work([step], make, by_networks())


STAGE = Transfer()
