"""`eddyscope dns`: simulate an ensemble and filter it in situ into a dataset.

Writes <system>/dataset.h5, checkpoints/ and status.json, unless the case names the dataset. It
goes on from the newest checkpoint; samples that are already committed are not written again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.writer import DatasetWriter, create, mend
from eddyscope.config.arrays import BoolArray
from eddyscope.filtering.subgrid import Subgrid, unfiltered
from eddyscope.parallel.failure import BlewUp
from eddyscope.parallel.memory import require_memory, resident
from eddyscope.parallel.reduce import largest
from eddyscope.parallel.stop import StopRequests
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.observers import Keeper, Recorder, Reporter, Sampler
from eddyscope.solver.simulation import Observer, Simulation
from eddyscope.solver.sizes import LOADED
from eddyscope.solver.watch import Watch
from eddyscope.stages.dns_cost import measured
from eddyscope.stages.ensemble import Ensemble
from eddyscope.stages.job import Job, Work, by_solver
from eddyscope.stages.stage import Stage


class Dns(Stage):
    name = "dns"
    summary = "simulate the base and target ensembles and filter them into datasets"

    def plan(self, job: Job) -> list[str]:
        program = float(largest(job.world.comm, float(resident() + LOADED)))
        lines = []
        for ensemble in (Ensemble.of(job, system) for system in job.simulated):
            require_memory(job.world.comm, f"dns.{ensemble.system}", program + ensemble.fields)
            ensemble.check()
            lines += [
                *ensemble.description(program),
                *(measured(ensemble)[1] if job.measure else []),
            ]
        return lines

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """A step a system, one after the other. Collective."""

        def work(of: Ensemble) -> Work:
            by = by_solver(of.case, of.setup.grid.precision)
            return Work([of.step], lambda _: simulate(of, job.identity(of.step)), by)

        return [work(Ensemble.of(job, system)) for system in job.simulated]

    def notes(self, job: Job) -> list[str]:
        return [f"{s}: {named}" for s, named in job.case.named.items() if s in job.systems]


def simulate(ensemble: Ensemble, identity: str) -> None:
    """From the newest checkpoint of this identity, or the start, to the end. Collective."""
    case, world, label = ensemble.case, ensemble.world, f"dns.{ensemble.system}"
    path, layout = ensemble.dataset, ensemble.layout
    if not world.on_root(path.exists):
        create(path, world.comm, layout, ensemble.attributes)
    mend(path, world.comm)
    transform = ensemble.setup.make_transform(world, wisdom=path.parent / "wisdom")
    with (
        StopRequests(world, [ensemble.out, path.parent], case.stop) as requests,
        DatasetWriter.opened(
            path, layout, world.comm, transform.owned, case.storage.driver
        ) as writer,
    ):
        simulation = ensemble.setup.simulation(transform, requests.pending)
        folder = path.parent / "checkpoints"
        checkpoints = Checkpoints(folder, case.checkpoint, identity, transform)
        ensemble.setup.begin(simulation, checkpoints, world, label, partial(unusable, ensemble))
        watch = Watch(checkpoints, world)
        filling = observers(ensemble, simulation, writer)
        keeper = Keeper(checkpoints, requests, writer.commit)
        reporter = Reporter(world, label, simulation.time)
        try:
            with watch.ending(simulation):
                simulation.run(simulation.schedule.last, [watch, *filling, keeper, reporter])
        except BlewUp:  # by all ranks together
            writer.commit()
            raise
    found = world.on_root(lambda: quality(Dataset(path)))
    world.say("\n".join([f"{label}: {found.summary}", *(f"warning: {w}" for w in found.warnings)]))


def unusable(ensemble: Ensemble, clock: Mapping[str, float]) -> str:
    """Why a checkpoint does not serve: the dataset must have all that comes before it. Not
    collective."""
    mark, samples = int(clock["mark"]), ensemble.setup.schedule.samples_up_to(int(clock["mark"]))
    if Dataset(ensemble.dataset).has(mark + 1, samples):
        return ""
    return "the dataset has not all samples and records before it"


def observers(ensemble: Ensemble, simulation: Simulation, writer: DatasetWriter) -> list[Observer]:
    """Those that fill the dataset. Collective."""
    case, flow, path = ensemble.case, simulation.flow, ensemble.dataset
    committed: BoolArray = ensemble.world.on_root(lambda: np.all(Dataset(path).committed, axis=0))
    filtering, diagnostics = case.filter_of(ensemble.system), Diagnostics(flow)
    subgrid = Subgrid(flow, filtering, case.transform)
    full = unfiltered if filtering.full_fields else None
    return [Recorder(diagnostics, writer), Sampler(subgrid, diagnostics, writer, committed, full)]


STAGE = Dns()
