"""The steps `normalise.base` and `normalise.target`, which whoever comes first performs.

They write normalisation/base.json and normalisation/target.json (`artefacts/normalisation.py`):
each system's own statistics, of the samples that `train` and `transfer` see; all ways to normalise
follow from them. Every stage that uses one declares the file among its step's inputs, and has the
works that make them before its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eddyscope.artefacts.dataset.derived import is_known
from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.model import read_model
from eddyscope.artefacts.normalisation import Normalisation, statistics_of, write_normalisation
from eddyscope.parallel.failure import agree
from eddyscope.parallel.world import World
from eddyscope.stages.case import SAMPLES_OF, SYSTEMS, Case
from eddyscope.stages.job import Job, Step, Work

__all__ = ["normalise"]


def normalise(job: Job, stage: str, systems: Sequence[str] = SYSTEMS) -> list[Work]:
    """What makes the normalisations of these systems, for a stage."""
    return [_work(job, stage, system) for system in systems]


def _work(job: Job, stage: str, system: str) -> Work:
    case, world = job.case, job.world
    path, model = job.normalisation(system), job.case.training.model
    stored = model is not None and system == SYSTEMS[0]  # a base model has its own
    step = Step(
        f"normalise.{system}",
        sections=() if stored else _sections(system),
        inputs=(job.base_model if stored else job.dataset(system),),
        outputs=(path,),
        stage=stage,
    )

    def write(_: Sequence[Step]) -> None:
        if stored:
            world.on_root(lambda: _write_stored(path, job.base_model))
        else:
            _write(path, job.source(system), case, system, world)

    return Work([step], write)


def _sections(system: str) -> tuple[str, ...]:
    """Of the case, what decides which samples they are."""
    return (
        "network.n",
        "network.inputs",
        "network.outputs",
        "filter.n",
        SAMPLES_OF[system],
        f"{system}.ensemble.split",
    )


def _write_stored(path: Path, model: Path) -> None:
    """That which the base model was trained with."""
    record = read_model(model).record
    own = statistics_of("base", record.normalisation, record.normalisation)
    write_normalisation(path, own, str(record.provenance.get("dataset", "")))


def _write(path: Path, source: Source, case: Case, system: str, world: World) -> None:
    """Each rank reads its share of the samples. Collective."""
    from eddyscope.learning.batches import Selection

    channels = case.channels.names

    def selected() -> Selection:
        dataset, n = source.open(), case.network_grid
        dataset.require(n, "train")
        names = dict.fromkeys(case.channels.fields(dataset.layers))
        if is_known("omega", dataset.fields, dataset.box.periodic, dataset.layers):
            names["omega"] = None
        return Selection.of(dataset, n, "train", case.wanted_samples(system), list(names))

    selection = agree(world.comm, selected)
    mine = partial(selection.shared_out, world.size, world.rank, channels)
    normalisation = Normalisation.own(system, channels, mine, world.comm)
    world.on_root(lambda: write_normalisation(path, normalisation, selection.dataset.digest))
