"""`eddyscope dns`: simulate an ensemble and filter it in situ into a dataset.

Writes <system>/dataset.h5, <system>/checkpoints/ and <system>/status.json. Restarted from
the newest checkpoint; samples that are already committed are not written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.writer import DatasetWriter, Layout, capacity, create, mend, size
from eddyscope.config.arrays import BoolArray
from eddyscope.filtering.subgrid import Subgrid, unfiltered
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import BlewUp, agree
from eddyscope.parallel.memory import require_memory, resident
from eddyscope.parallel.reduce import largest
from eddyscope.parallel.stop import StopRequests
from eddyscope.solver.assemble import Setup, make_schedule
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.cost import time_line
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.guard import Guard, too_long
from eddyscope.solver.observers import Keeper, Recorder, Reporter, Sampler
from eddyscope.solver.simulation import Observer, Simulation
from eddyscope.solver.sizes import Sizes, sizes_of
from eddyscope.spectral.grid import Grid
from eddyscope.stages.job import Job, Step
from eddyscope.storage.disk import free_space, require_space
from eddyscope.storage.drivers.registry import STORAGE_DRIVERS

LOADED = 60 * 2**20
"""Bytes that compiled loops and MPI-IO take once they are in use (measured, x86-64 Linux)."""


class Dns:
    name = "dns"
    summary = "simulate the base and target ensembles and filter them into datasets"

    def plan(self, job: Job) -> list[str]:
        program = float(largest(job.world.comm, float(resident() + LOADED)))
        lines = []
        for system in job.systems:
            run = Run(job, system)
            require_memory(job.world.comm, f"dns.{system}", program + run.fields)
            run.check()
            lines += run.description(program)
            lines += run.measured() if job.measure else []
        return lines

    def run(self, job: Job) -> None:
        for system in job.systems:
            run = Run(job, system)
            job.perform(run.step, run.simulate)


@dataclass(frozen=True)
class Run:
    """The ensemble of one system, to be planned or simulated."""

    job: Job
    system: str

    @cached_property
    def setup(self) -> Setup:
        """CaseError where the case has no such system, or its times do not fit its steps."""
        case, settings = self.job.case, self.job.case.system(self.system)
        ensemble = settings.ensemble
        schedule = make_schedule(f"{self.system}.ensemble", ensemble, case.time.dt)
        return Setup(
            flow=settings.flow,
            grid=Grid.of(case.grid),
            time=case.time,
            transform=case.transform,
            members=ensemble.members,
            schedule=schedule,
            seed=case.seed,
        )

    @cached_property
    def layout(self) -> Layout:
        """The sizes and coordinates of the dataset."""
        case, schedule = self.job.case, self.setup.schedule
        return Layout(
            members=self.setup.members,
            sample_times=schedule.sample_times,
            record_times=schedule.times,
            n_shells=self.setup.grid.n_shells,
            grids={n: case.filter.delta(n) for n in case.filter.n},
            dtype=case.filter.precision,
            full=case.grid.n if case.filter.full_fields else None,
            layers=FLOWS[self.setup.flow.kind].layers,
        )

    @cached_property
    def sizes(self) -> Sizes:
        settings = self.job.case.filter
        return sizes_of(self.setup, self.job.world.size, settings.n, settings.full_fields)

    @cached_property
    def step(self) -> Step:
        """Collective."""
        folder, dataset = self.job.out / self.system, self.job.dataset(self.system)
        initial, attributes = self.setup.flow.initial, self.attributes
        kept = self.job.case.checkpoint.keep + 1  # a new one is complete before the oldest goes
        return Step(
            name=f"dns.{self.system}",
            sections=("seed", "grid", "time", "filter", "transform", self.system),
            inputs=(Path(initial.path),) if hasattr(initial, "path") else (),
            outputs=(dataset,),
            scratch=(folder / "checkpoints", folder / "wisdom"),
            status=folder / "status.json",
            sizes={
                dataset: self.job.world.on_root(lambda: size(self.layout, attributes)),
                folder / "checkpoints": self.sizes.checkpoint * kept,
            },
        )

    @property
    def attributes(self) -> dict[str, object]:
        """Of the dataset's file."""
        return {**self.job.provenance(), "system": self.system}

    def check(self) -> None:
        """Raise CaseError for all that a run would refuse. Collective."""
        step = self.step

        def check() -> None:
            STORAGE_DRIVERS[self.job.case.storage.driver.kind].require()
            require_space(step.name, step.sizes, self.job.out)
            self.setup.check()

        self.job.world.on_root(check)

    @property
    def fields(self) -> float:
        """Bytes of a rank for fields at the peak."""
        sizes, layout = self.sizes, self.layout
        waiting = capacity(layout, sizes.owned) * sizes.owned * layout.member_bytes()
        return sizes.solver + sizes.coarse + sizes.work + waiting

    def description(self, program: float) -> list[str]:
        """What would be done, a line each; program: bytes of a rank without fields. Collective."""
        sizes, layout, fields = self.sizes, self.layout, self.fields
        dataset, checkpoints = self.step.sizes.values()
        free = self.job.world.on_root(lambda: free_space(self.job.out))
        return [
            *self.setup.description(self.system, self.job.world.size),
            f"  memory: {(program + fields) / 2**20:.0f} MiB a rank at the peak, "
            f"{fields / 2**20:.0f} MiB of it for fields",
            f"  dataset: {layout.samples} samples, {dataset} bytes ({dataset / 2**20:.1f} MiB), "
            f"{layout.samples * layout.sample_bytes()} of them fields",
            f"  checkpoints: up to {checkpoints // sizes.checkpoint} of {sizes.checkpoint} bytes "
            f"({checkpoints / 2**20:.1f} MiB)",
            f"  disk: {(dataset + checkpoints) / 2**20:.1f} MiB, of {free / 2**20:.1f} MiB that "
            f"are free for {self.job.out}",
        ]

    def measured(self) -> list[str]:
        """The time of the whole run, from some steps, a record and a sample. Collective."""
        world, case, schedule = self.job.world, self.job.case, self.setup.schedule
        transform = self.setup.make_transform(world)
        simulation = self.setup.simulation(transform)
        flow, state = simulation.flow, simulation.omega_hat
        agree(world.comm, lambda: self.setup.set_initial(state, transform))
        simulation.run(0, [])
        problem = too_long(simulation, self.setup.time.dt or 0.0)
        diagnostics, subgrid = Diagnostics(flow), Subgrid(flow, case.filter, case.transform)

        def sample() -> None:
            advection = simulation.stepper.advection.of(state)
            subgrid.sample(state, advection)
            diagnostics.spectra(state, advection)

        works = {
            "record": (len(schedule.times), lambda: diagnostics.means(state, 0.0, 0)),
            "sample": (schedule.samples, sample),
        }
        line = time_line(simulation, works)
        return [f"  {line}", *([f"  warning: {problem}"] if problem else [])]

    def simulate(self) -> None:
        """From the newest checkpoint, or the start, to the last sample. Collective."""
        job, world, label = self.job, self.job.world, f"dns.{self.system}"
        path, layout = job.dataset(self.system), self.layout
        if not world.on_root(path.exists):
            create(path, world.comm, layout, self.attributes)
        mend(path, world.comm)
        transform = self.setup.make_transform(world, wisdom=path.parent / "wisdom")
        with (
            StopRequests(world, path.parent, job.case.stop) as requests,
            DatasetWriter.opened(
                path, layout, world.comm, transform.owned, job.case.storage.driver
            ) as writer,
        ):
            simulation = self.setup.simulation(transform, requests.pending)
            folder, identity = path.parent / "checkpoints", job.identity(self.step)
            checkpoints = Checkpoints(folder, job.case.checkpoint, identity, transform)
            self.setup.begin(simulation, checkpoints, world, label, self.unusable)
            guard = Guard(checkpoints, world)
            observers = self.observers(simulation, writer)
            keeper = Keeper(checkpoints, requests, writer.commit)
            reporter = Reporter(world, label, simulation.time)
            try:
                with guard.ending(simulation):
                    last = simulation.schedule.last
                    simulation.run(last, [guard, *observers, keeper, reporter])
            except BlewUp:  # by all ranks together
                writer.commit()
                raise
        found = world.on_root(lambda: quality(Dataset(path)))
        world.say(f"{label}: {found.summary}")
        for warning in found.warnings:
            world.say(f"warning: {warning}")

    def unusable(self, clock: Mapping[str, float]) -> str:
        """Why a checkpoint does not serve: the dataset must have all that comes before it. Not
        collective."""
        dataset, mark = Dataset(self.job.dataset(self.system)), int(clock["mark"])
        records = dataset.diagnostics()["energy"][:, : mark + 1]
        samples = dataset.committed[:, : self.setup.schedule.samples_up_to(mark)]
        if np.isfinite(records).all() and samples.all():
            return ""
        return "the dataset has not all samples and records before it"

    def observers(self, simulation: Simulation, writer: DatasetWriter) -> list[Observer]:
        """Those that fill the dataset. Collective."""
        settings, flow, path = self.job.case.filter, simulation.flow, self.job.dataset(self.system)
        committed: BoolArray = self.job.world.on_root(
            lambda: np.all(Dataset(path).committed, axis=0)
        )
        diagnostics, subgrid = Diagnostics(flow), Subgrid(flow, settings, self.job.case.transform)
        full = unfiltered if settings.full_fields else None
        return [
            Recorder(diagnostics, writer),
            Sampler(subgrid, diagnostics, writer, committed, full),
        ]


STAGE = Dns()
