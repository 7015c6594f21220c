"""The steps `normalise.base` and `normalise.target`, which whoever comes first performs.

They write normalisation/base.json and normalisation/target.json (`artefacts/normalisation.py`):
the statistics of the samples that `train` and `transfer` see. Every stage that uses one
declares the file among its step's inputs, and has the works that make them before its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.normalisation import Normalisation, write_normalisation
from eddyscope.stages.case import SAMPLES_OF, SYSTEMS, Case
from eddyscope.stages.job import Job, Step, Work

__all__ = ["normalise"]


def normalise(job: Job, stage: str, systems: Sequence[str] = SYSTEMS) -> list[Work]:
    """What makes the normalisations of these systems, for a stage."""
    return [_work(job, stage, system) for system in systems]


def _work(job: Job, stage: str, system: str) -> Work:
    case, world = job.case, job.world
    dataset, path = job.dataset(system), job.normalisation(system)
    step = Step(
        f"normalise.{system}",
        sections=("network.n", "filter.n", SAMPLES_OF[system]),
        inputs=(dataset,),
        outputs=(path,),
        stage=stage,
    )
    return Work([step], lambda _: world.on_root(lambda: _write(path, dataset, case, system)))


def _write(path: Path, source: Path, case: Case, system: str) -> None:
    from eddyscope.learning.batches import load_fields

    dataset, n = Dataset(source), case.network_grid
    dataset.require(n, "train")
    fields = load_fields(dataset, n, "train", case.wanted_samples(system))
    normalisation = Normalisation.own(system, fields.by_name())
    write_normalisation(path, normalisation, dataset.digest)
