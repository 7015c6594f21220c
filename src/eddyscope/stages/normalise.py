"""The steps `normalise.base` and `normalise.target`, which whoever comes first performs.

They write normalisation/base.json and normalisation/target.json (`artefacts/normalisation.py`):
the statistics of the samples that `train` and `transfer` see. Every stage that uses one
declares the file among its step's inputs, and performs that step by `perform_normalised`.
"""

from __future__ import annotations

from collections.abc import Callable

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.normalisation import Normalisation, write_normalisation
from eddyscope.stages.job import Job, Step

__all__ = ["perform_normalised"]

SAMPLES = {"base": "training.samples", "target": "transfer.samples"}
"""System -> the setting that says how many of its samples are used."""


def perform_normalised(job: Job, step: Step, work: Callable[[], None]) -> None:
    """Perform `step`, and before it the normalisations that it reads. Collective.

    What would be refused is refused before either; raises as `Job.perform`.
    """
    systems = [system for system in SAMPLES if job.normalisation(system) in step.inputs]
    job.foresee(step, [job.normalisation(system) for system in systems])
    for system in systems:
        _normalise(job, system)
    job.perform(step, work)


def _normalise(job: Job, system: str) -> None:
    """Make the normalisation of a system, unless it is there. Collective. Raises CaseError."""
    step = Step(
        f"normalise.{system}",
        sections=("network.n", "filter.n", SAMPLES[system]),
        inputs=(job.dataset(system),),
        outputs=(job.normalisation(system),),
    )
    job.perform(step, lambda: job.world.on_root(lambda: _write(job, system)))


def _write(job: Job, system: str) -> None:
    from eddyscope.learning.batches import load_fields

    case = job.case
    count = case.training.samples if system == "base" else case.transfer.samples
    dataset, n = Dataset(job.dataset(system)), case.network_grid
    dataset.require(n, "train")
    fields = load_fields(dataset, n, "train", count)
    normalisation = Normalisation.own(system, fields.by_name())
    write_normalisation(job.normalisation(system), normalisation, dataset.digest)
