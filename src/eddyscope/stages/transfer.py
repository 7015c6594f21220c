"""`eddyscope transfer`: re-train parts of the base model on a few target samples.

Reads models/base.safetensors and target/dataset.h5. Writes one artefact a model, as soon
as it is done: models/transfer/<name>.safetensors, with <name> among l01, l02, …, "l02+l05",
gain, all, scratch, and `scale` (the base model times one number, by least squares: no
training). Further repeats go to models/transfer/seed1/, seed2/, …. Each artefact's metadata
holds its training curves (`history`: {"train": [...], "validation": [...]}, losses of the
normalised Π an epoch; for `scale` one value, after the fit), `retrained` layers and
`metrics` (parameters, samples, losses, seconds); `evaluate` collects the curves in evaluation.h5.

The ranks are dealt to groups; each group trains its models, data-parallel. A killed stage
called again makes the models that are missing, and goes on with those half done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.learning.variants import (
    SCALE,
    Variant,
    variants_of,
)
from eddyscope.networks.costs import layer_parameters, training_flops
from eddyscope.networks.registry import layer_names
from eddyscope.parallel.failure import BlewUp, agree
from eddyscope.parallel.progress import Progress, duration
from eddyscope.parallel.work import deal
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step

if TYPE_CHECKING:
    from eddyscope.learning.retrain import Retraining

SECTIONS = ("seed", "network", "training.batch_size", "training.learning_rate",
            "training.rotations", "transfer", "filter")  # fmt: skip

RATE = 40e9
"""Floating-point operations a second of one CPU core, for estimates (measured: 40 to 100e9)."""


def plan(job: Job) -> list[str]:
    """What would be re-trained and what it costs, a line each. Raises CaseError."""
    case = job.case
    _check(case)
    variants = all_variants(case)
    groups = min(job.world.size, len(variants))
    transfer = case.transfer
    batch = transfer.batch_size or case.training.batch_size
    steps = -(-transfer.samples // batch)
    work = (
        transfer.epochs
        * transfer.samples
        * training_flops(case.network, case.channels, case.network_grid)
    )
    weights = 4 * sum(layer_parameters(case.network, case.channels).values())
    return [
        f"models: {len(variants)} ({', '.join(dict.fromkeys(v.name for v in variants))}; "
        f"{transfer.seeds} seed(s))",
        f"samples: {transfer.samples} of the target",
        f"steps: {transfer.epochs} epochs x {steps} batches of {batch} a model, in {groups} "
        f"group(s) of ranks (at most {-(-job.world.size // groups)} rank(s) each)",
        f"time: about {duration(len(variants) * work / RATE / job.world.size)} on CPU cores, "
        "one a rank",
        f"writes {len(variants)} files of {weights / 2**20:.2f} MiB to models/transfer/",
    ]


def run(job: Job) -> None:
    """Re-train, unless it is done. Collective."""
    _check(job.case)
    step = Step(
        "transfer",
        sections=SECTIONS,
        inputs=(job.base_model, job.dataset("target")),
        outputs=tuple(v.path(job.transfer_folder) for v in all_variants(job.case)),
        scratch=(job.transfer_folder,),
    )
    job.perform(step, lambda: _transfer(job))


def all_variants(case: Case) -> list[Variant]:
    """Every model to be made, in a fixed order."""
    return variants_of(case.transfer, layer_names(case.network))


def _check(case: Case) -> None:
    ensemble = case.system("target").ensemble
    members = ensemble.parts["train"]
    if case.transfer.samples > len(members) * ensemble.samples:
        raise CaseError(
            f"transfer.samples = {case.transfer.samples}, but the target ensemble has "
            f"{len(members) * ensemble.samples} training samples ({len(members)} members of "
            f"{ensemble.samples}); lower it, or raise target.ensemble.members or samples"
        )


def _transfer(job: Job) -> None:
    """Deal the models to groups of ranks, each of which makes what is missing. Collective."""
    world = job.world
    retraining = _retraining(job)
    everything = all_variants(job.case)
    missing = world.on_root(lambda: [v for v in everything if not retraining.is_made(v)])
    # Who makes what does not depend on what is missing: the ranks a model is trained on
    # decide its last bits, and a run that goes on must end like an unbroken one.
    group, index = world.split(len(everything))
    dealt = deal(everything, min(world.size, len(everything)), index)
    mine = [variant for variant in dealt if variant in missing]
    progress = Progress(group, "transfer: epoch", max(1, _epochs(job.case, mine)))
    blown: list[str] = []
    for i, variant in enumerate(mine):
        before = _epochs(job.case, mine[:i])

        def report(epoch: int, note: str, before: int = before, name: str = variant.name) -> None:
            if index == 0:  # one group speaks for all: their shares are alike
                progress.update(before + epoch, f"{name}, {note}")

        try:
            retraining.make(variant, group, report)
        except BlewUp as error:
            blown.append(f"{variant.name}: {error}")
    # A group must not end the job while another is still at work on sound models.
    everyone = [text for texts in world.comm.allgather(blown) for text in texts]
    group.comm.Free()
    if everyone:
        raise BlewUp("; ".join(dict.fromkeys(everyone)))


def _retraining(job: Job) -> Retraining:
    """What all models have in common. Collective."""
    from eddyscope.artefacts.model import load_model
    from eddyscope.learning.retrain import Retraining, Target
    from eddyscope.learning.trainer import Recipe

    case, comm = job.case, job.world.comm
    base = agree(comm, lambda: load_model(job.base_model, case.network))
    path = job.dataset("target")
    target = agree(comm, lambda: Target.of(Dataset(path), case.network_grid, case.transfer.samples))
    recipe = Recipe(
        epochs=case.transfer.epochs,
        batch_size=case.transfer.batch_size or case.training.batch_size,
        learning_rate=case.transfer.learning_rate or case.training.learning_rate,
        key=(case.seed,),
        rotations=case.training.rotations,
        checkpoint_every=case.training.checkpoint_every,
    )
    return Retraining(
        base=base,
        parent=job.world.on_root(lambda: provenance.file_digest(job.base_model)),
        target=target,
        recipe=recipe,
        folder=job.transfer_folder,
        provenance=job.provenance(),
    )


def _epochs(case: Case, variants: Sequence[Variant]) -> int:
    """Epochs of training that `variants` take together."""
    return case.transfer.epochs * sum(v.name != SCALE for v in variants)
