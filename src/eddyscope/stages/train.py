"""`eddyscope train`: the base network, on the base system's training members.

Reads base/dataset.h5. Writes models/base.safetensors (its metadata: `artefacts/model.py`;
`history` = {"train": [loss an epoch], "validation": [loss an epoch]}) and, while it
trains, models/base.ckpt. Called again after a kill, it goes on from there.
"""

from __future__ import annotations

import time

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.errors import CaseError
from eddyscope.networks.costs import layer_parameters, training_flops
from eddyscope.networks.registry import check_grid, layer_names
from eddyscope.parallel.failure import agree
from eddyscope.parallel.progress import Progress, duration
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step

SECTIONS = ("seed", "network", "training", "filter")

RATE = 40e9
"""Floating-point operations a second of one CPU core, for estimates (measured: 40 to 100e9)."""


def plan(job: Job) -> list[str]:
    """What would be trained and what it costs, a line each. Raises CaseError."""
    case = job.case
    _check(case)
    count, validation = sample_counts(case)
    n, training = case.network_grid, case.training
    steps = -(-count // training.batch_size)
    flops = training_flops(case.network, case.channels, n)
    seconds = training.epochs * (count + validation / 3) * flops / RATE / job.world.size
    memory = 3 * 4 * n * n * (count + validation)
    weights = sum(layer_parameters(case.network, case.channels).values())
    return [
        f"network: {case.network.kind}, {len(layer_names(case.network))} layers, {weights} "
        "parameters",
        f"samples: {count} for training, {validation} for validation, {n} x {n} points, "
        f"{memory / 2**20:.1f} MiB on each rank",
        f"steps: {training.epochs} epochs x {steps} batches of {training.batch_size} on "
        f"{job.world.size} rank(s) together",
        f"time: about {duration(seconds)} on CPU cores, one a rank",
        f"writes models/base.safetensors, {4 * weights / 2**20:.2f} MiB",
    ]


def run(job: Job) -> None:
    """Train, unless it is done. Collective."""
    _check(job.case)
    step = Step(
        "train",
        sections=SECTIONS,
        inputs=(job.dataset("base"),),
        outputs=(job.base_model,),
        scratch=(job.base_model.with_suffix(".ckpt"),),
    )
    job.perform(step, lambda: _train(job, step))


def sample_counts(case: Case) -> tuple[int, int]:
    """Samples to train on and to validate with, of the base system. Raises CaseError."""
    ensemble = case.system("base").ensemble
    available = len(ensemble.parts["train"]) * ensemble.samples
    count = case.training.samples or available
    if count > available:
        raise CaseError(
            f"training.samples = {count}, but the base ensemble has {available} training samples "
            f"({len(ensemble.parts['train'])} members of {ensemble.samples}); lower it, or raise "
            "base.ensemble.members or samples"
        )
    return count, len(ensemble.parts["validation"]) * ensemble.samples


def _check(case: Case) -> None:
    sample_counts(case)
    check_grid(case.network, case.network_grid)


def _train(job: Job, step: Step) -> None:
    from eddyscope.artefacts.model import Model, save_model
    from eddyscope.artefacts.normalisation import Normalisation
    from eddyscope.learning.batches import Samples, load_fields
    from eddyscope.learning.trainer import Recipe, Saved, train
    from eddyscope.networks.closure_network import ClosureNetwork

    case, n = job.case, job.case.network_grid
    dataset = agree(job.world.comm, lambda: Dataset(job.dataset("base")))
    agree(job.world.comm, lambda: dataset.require(n, "train"))
    fields = agree(job.world.comm, lambda: load_fields(dataset, n, "train", case.training.samples))
    normalisation = agree(job.world.comm, lambda: Normalisation.own("base", fields.by_name()))
    samples = Samples.of(fields, normalisation)
    held_out = agree(job.world.comm, lambda: load_fields(dataset, n, "validation"))
    validation = Samples.of(held_out, normalisation) if held_out.origin else None
    recipe = Recipe(
        epochs=case.training.epochs,
        batch_size=case.training.batch_size,
        learning_rate=case.training.learning_rate,
        key=(case.seed, 0),
        rotations=case.training.rotations,
        checkpoint_every=case.training.checkpoint_every,
    )
    checkpoint = job.base_model.with_suffix(".ckpt")
    saved = Saved(checkpoint, job.identity(step))
    network = ClosureNetwork(case.network, (case.seed, 0))
    progress = Progress(job.world, "train: epoch", recipe.epochs)
    began = time.monotonic()
    history = train(network, samples, validation, recipe, job.world, saved, progress.update)
    metadata = {
        "grid": {"n": n, "filter_width": dataset.filter_width[n]},
        "history": history.as_dict(),
        "metrics": {
            "samples": len(samples),
            "parameters": sum(layer_parameters(case.network, case.channels).values()),
            "train_loss": history.train[-1],
            "validation_loss": history.validation[-1] if history.validation else None,
            "seconds": time.monotonic() - began,
            "ranks": job.world.size,
        },
        "provenance": {**job.provenance(), "dataset": dataset.digest},
    }
    model = Model(network, normalisation, "base", metadata)
    job.world.on_root(lambda: save_model(job.base_model, model))
    job.world.on_root(lambda: checkpoint.unlink(missing_ok=True))
