"""`eddyscope evaluate`: offline metrics of every model on both systems; how good the advice was.

Reads models/base.safetensors, models/transfer/*, both datasets, and advice.json if it is
there. Every model is tried on the test members of both systems, each system normalised by
its own statistics (the target's: of the samples that `transfer` saw). Metrics are defined in
`learning/metrics.py`. Writes evaluation.csv, evaluation.h5 and evaluation.json, described in
`artefacts/evaluation.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eddyscope.artefacts.advice import read_advice
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.evaluation import write_evaluation
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.parallel.failure import agree
from eddyscope.stages.case import SYSTEMS
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import perform_normalised

if TYPE_CHECKING:
    from eddyscope.learning.batches import Fields

OUTPUTS = ("evaluation.csv", "evaluation.h5", "evaluation.json")


class Evaluate:
    """The stage."""

    name = "evaluate"
    summary = "try every model on both systems' test members"

    def plan(self, job: Job) -> list[str]:
        """What would be evaluated, a line each. Raises CaseError."""
        models, case = _models(job), job.case
        snapshots = {
            s: len(case.test_members(s)) * case.system(s).ensemble.samples for s in SYSTEMS
        }
        numbers = 10 * len(models) * sum(snapshots.values())
        return [
            f"models: {len(models)}, dealt to {job.world.size} rank(s)",
            "test snapshots: " + ", ".join(f"{count} of {s}" for s, count in snapshots.items()),
            f"writes {', '.join(OUTPUTS)}, about {8 * numbers / 2**20:.1f} MiB",
        ]

    def run(self, job: Job) -> None:
        """Evaluate, unless it is done. Collective."""
        self.plan(job)
        advice = job.out / "advice.json"
        read = job.world.on_root(lambda: [advice] if advice.exists() else [])
        step = Step(
            "evaluate",
            sections=("network", "training.batch_size", "transfer", "filter"),
            inputs=(*_models(job).values(), *_data(job), *read),
            outputs=tuple(job.out / name for name in OUTPUTS),
        )
        perform_normalised(job, step, lambda: _evaluate(job, bool(read)))


def _models(job: Job) -> dict[ModelKey, Path]:
    """Every model of the case, the base model first, and its file."""
    return {key: job.model(key) for key in (ModelKey(), *job.case.transfer_models)}


def _data(job: Job) -> list[Path]:
    """Both datasets and their normalisations."""
    return [file(system) for system in SYSTEMS for file in (job.dataset, job.normalisation)]


def _evaluate(job: Job, with_advice: bool) -> None:
    from eddyscope.advisor.summary import summary_of
    from eddyscope.learning.device import configure_torch
    from eddyscope.learning.evaluation import evaluate_all, example_details, load_subjects

    case, world = job.case, job.world
    configure_torch(world)
    subjects = agree(world.comm, lambda: load_subjects(_models(job), case.network))
    tests = agree(world.comm, lambda: {system: _test_fields(job, system) for system in SYSTEMS})
    own = agree(world.comm, lambda: {s: read_normalisation(job.normalisation(s)) for s in SYSTEMS})
    found = evaluate_all(world, subjects, own, tests, case.training.batch_size)
    advice = (
        world.on_root(lambda: read_advice(job.out / "advice.json", case.layer_names))
        if with_advice
        else None
    )
    summary = summary_of(found, own, tests, advice)
    by_name = {str(subject.key): subject.model for subject in subjects}
    shown = {name: by_name[name] for name in ("base", summary.best) if name}

    def write() -> None:
        examples, which = example_details(shown, own["target"], tests["target"])
        details = {**found.details, "examples": examples}
        write_evaluation(job.out, found.table, details, summary, {**job.provenance(), **which})

    world.on_root(write)


def _test_fields(job: Job, system: str) -> Fields:
    from eddyscope.learning.batches import load_fields

    dataset = Dataset(job.dataset(system))
    dataset.require(job.case.network_grid, "test")
    return load_fields(dataset, job.case.network_grid, "test")


STAGE = Evaluate()
