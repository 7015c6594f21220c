"""`eddyscope dns`: simulate an ensemble and filter it in situ into a dataset.

Writes <system>/dataset.h5, <system>/checkpoints/ and <system>/status.json. Restarted from
the newest checkpoint; samples that are already committed are not written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eddyscope.config import provenance
from eddyscope.config.case import CaseError
from eddyscope.dataset.reader import Dataset
from eddyscope.dataset.schema import EnsembleSettings
from eddyscope.dataset.writer import DatasetWriter, Layout, create
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.flows.initial import INITIALS
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import BlewUp, StoppedEarly, agree
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.stop import StopRequests
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schedule import Schedule, whole_steps
from eddyscope.solver.simulation import Observer, Simulation
from eddyscope.solver.steppers import SCHEMES
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import Transform, make_transform
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step

ARRAYS_PER_MEMBER = {"spectral": 14, "physical": 6}
"""Arrays that a member's state, work space and transform buffers take (see `plan`)."""


def plan(job: Job) -> list[str]:
    """What the run would do and cost, a line each."""
    lines = []
    for system in job.systems:
        settings, dt = job.case.system(system), job.case.time.dt
        schedule = make_schedule(job.case, system)
        layout = make_layout(job.case, system, schedule)
        transform = _make_transform(job, settings.ensemble.members)
        agree(job.world.comm, lambda s=settings, t=transform: _check(job.case, s, t))  # type: ignore[misc]
        mesh = transform.mesh
        grid = transform.grid
        lines += [
            f"{system}: {settings.ensemble.members} members on {grid.n} x {grid.n} modes, "
            f"products on {grid.n_product} x {grid.n_product} points",
            f"  mesh: {mesh.shape[0]} (members) x {mesh.shape[1]} (y-pencils)",
            f"  steps: {schedule.last} of dt = {dt:g}, to t = {schedule.last * dt:g}",
            f"  memory: about {_memory(transform) / 2**20:.0f} MiB a rank for fields",
            f"  dataset: {layout.samples} samples, "
            f"{layout.samples * layout.sample_bytes() / 2**20:.1f} MiB",
        ]
    return lines


def run(job: Job) -> None:
    """Simulate each system. Collective."""
    for system in job.systems:
        job.case.system(system)
        folder = job.out / system
        step = Step(
            name=f"dns.{system}",
            sections=("grid", "time", "filter", "transform.kind", "transform.planner", system),
            inputs=_initial_files(job.case, system),
            outputs=(job.dataset(system),),
            scratch=(folder / "checkpoints",),
            status=folder / "status.json",
        )
        job.perform(step, lambda system=system: simulate(job, system))  # type: ignore[misc]


def simulate(job: Job, system: str) -> None:
    """Run one ensemble from its newest checkpoint, or its start, to its last sample. Collective."""
    case, world = job.case, job.world
    settings = case.system(system)
    schedule = make_schedule(case, system)
    transform = _make_transform(job, settings.ensemble.members)
    flow = FLOWS.build(settings.flow, transform)
    stepper = SCHEMES[case.time.scheme](flow, case.time.dt)
    omega_hat = transform.zeros_spectral()
    simulation = Simulation(flow, stepper, NoClosure(), omega_hat, case.time.dt)

    identity = provenance.digest([case.resolved()[key] for key in ("seed", "grid", "time", system)])
    checkpoints = Checkpoints(
        job.out / system / "checkpoints", case.checkpoint, identity, transform
    )
    path = job.dataset(system)
    if not world.on_root(path.exists):
        checkpoints.clear()  # the samples before them are gone
    step = checkpoints.load(simulation.state)
    for damaged in checkpoints.passed_over:
        world.say(f"dns.{system}: {damaged.name} is damaged or of another run; not used")
    if step is None:
        agree(world.comm, lambda: initialise(omega_hat, transform, case, system))
        step = 0
    else:
        world.say(f"dns.{system}: from the checkpoint at step {step}")
    simulation.step_number = step

    layout = make_layout(case, system, schedule)
    if not world.on_root(path.exists):
        create(path, world.comm, layout, {**job.provenance(), "system": system})
    committed = world.on_root(lambda: Dataset(path).committed.all(axis=0))
    with (
        StopRequests(world, path.parent) as requests,
        DatasetWriter.opened(path, layout, world.comm) as writer,
    ):
        observers: list[Observer] = [
            Recorder(Diagnostics(flow), writer, schedule),
            Sampler(
                Subgrid(flow, case.filter, case.transform),
                Diagnostics(flow),
                writer,
                schedule,
                committed,
            ),
            Keeper(checkpoints, schedule, requests),
            Reporter(Progress(world, f"dns.{system}", schedule.last, step)),
        ]
        simulation.run(schedule.last, observers)


def initialise(omega_hat: Any, transform: Transform, case: Case, system: str) -> None:
    """Set each local member's initial vorticity."""
    initial = INITIALS.build(case.system(system).flow.initial, case.seed)
    members = transform.mesh.members
    for i, member in enumerate(range(members.start, members.stop)):
        omega_hat[i, 0] = transform.take(initial.coefficients(case.grid.n, member))


def make_schedule(case: Case, system: str) -> Schedule:
    """The ensemble's times in steps. CaseError if they are not whole numbers of steps."""
    ensemble: EnsembleSettings = case.system(system).ensemble
    name, dt = f"{system}.ensemble", case.time.dt
    first = whole_steps(f"{name}.spin_up", ensemble.spin_up, dt)
    every = whole_steps(f"{name}.interval", ensemble.interval, dt)
    if every < 1:
        raise CaseError(f"{name}.interval = {ensemble.interval:g} is less than time.dt = {dt:g}")
    return Schedule(first, every, ensemble.samples, max(1, every // ensemble.diagnostics))


def make_layout(case: Case, system: str, schedule: Schedule) -> Layout:
    dt = case.time.dt
    return Layout(
        members=case.system(system).ensemble.members,
        sample_times=tuple(
            (schedule.first + s * schedule.every) * dt for s in range(schedule.samples)
        ),
        record_times=tuple(step * dt for step in schedule.records),
        n_shells=Grid.of(case.grid).n_shells,
        grids={n: case.filter.delta(n) for n in case.filter.n},
        dtype=case.filter.precision,
    )


@dataclass
class Recorder:
    """Writes the diagnostics when due, and stops all ranks together if they are not finite."""

    diagnostics: Diagnostics
    writer: DatasetWriter
    schedule: Schedule

    def observe(self, simulation: Simulation) -> None:
        step = simulation.step_number
        record = self.schedule.record_at(step)
        sampled = self.schedule.sample_at(step) is not None
        if record is None and not sampled:
            return
        values = self.diagnostics.means(simulation.omega_hat, simulation.time, step)
        spacing = simulation.flow.transform.grid.spacing
        values["cfl"] = simulation.dt * self.diagnostics.max_velocity() / spacing
        self._stop_if_not_finite(simulation, values)
        if record is not None:
            mesh = simulation.flow.transform.mesh
            writes = mesh.pencil_comm.rank == 0  # its pencils all hold the same sums
            members = mesh.members if writes else slice(0, 0)
            self.writer.write_record(record, members, values)

    def _stop_if_not_finite(self, simulation: Simulation, values: Mapping[str, Any]) -> None:
        members = simulation.flow.transform.mesh.members
        bad = np.flatnonzero(~np.isfinite(values["enstrophy"])) + members.start
        everywhere = sorted({int(m) for part in self.writer.comm.allgather(bad) for m in part})
        if everywhere:
            raise BlewUp(
                f"member(s) {', '.join(map(str, everywhere))} not finite at "
                f"t = {simulation.time:g} (step {simulation.step_number}); "
                f'use a smaller time.dt than {simulation.dt:g}, or time.scheme = "ifrk3"'
            )


@dataclass
class Sampler:
    """Filters the state and writes it when a sample is due that is not yet committed."""

    subgrid: Subgrid
    diagnostics: Diagnostics
    writer: DatasetWriter
    schedule: Schedule
    committed: Any
    """Whether each sample is committed already, shape (sample,)."""

    def observe(self, simulation: Simulation) -> None:
        sample = self.schedule.sample_at(simulation.step_number)
        if sample is None or self.committed[sample]:
            return
        flow, omega_hat = simulation.flow, simulation.omega_hat
        advection = flow.advection(omega_hat, simulation.stepper.scratch)
        fields = self.subgrid.sample(omega_hat, advection)
        shells = self.diagnostics.spectra(omega_hat, advection)
        first = flow.transform.mesh.members.start
        spectra = {
            m: {name: values[m - first] for name, values in shells.items()}
            for m in flow.transform.owned
        }
        self.writer.write_sample(sample, fields, spectra)


@dataclass
class Keeper:
    """Checkpoints at records of the diagnostics, once its interval of wall time has passed,
    and on request, after which the run stops.

    It comes after the recorder and the sampler, so a restart repeats neither of them.
    """

    checkpoints: Checkpoints
    schedule: Schedule
    requests: StopRequests

    def observe(self, simulation: Simulation) -> None:
        step = simulation.step_number
        boundary = self.schedule.record_at(step) is not None and 0 < step < self.schedule.last
        if not boundary:
            return
        stop = self.requests.any()
        if stop or self.checkpoints.due():
            self.checkpoints.save(step, simulation.state)
        if stop:
            raise StoppedEarly(
                f"at step {step} of {self.schedule.last}, t = {simulation.time:g}, as asked by "
                f"{self.requests.by}; call again to go on"
            )


@dataclass
class Reporter:
    """Says how far the run is."""

    progress: Progress

    def observe(self, simulation: Simulation) -> None:
        if simulation.step_number:
            self.progress.update(simulation.step_number, f"t = {simulation.time:.4g}")


def _make_transform(job: Job, members: int) -> Transform:
    settings, grid = job.case.transform, Grid.of(job.case.grid)
    shape = None if settings.mesh == "auto" else (settings.mesh[0], settings.mesh[1])
    return make_transform(settings, grid, job.world.mesh(members, grid.n // 2, shape))


def _check(case: Case, settings: Any, transform: Transform) -> None:
    """Build what the run would build, so that what is wrong is said before anything starts."""
    FLOWS.build(settings.flow, transform)
    INITIALS.build(settings.flow.initial, case.seed).coefficients(
        case.grid.n, settings.ensemble.members - 1
    )


def _initial_files(case: Case, system: str) -> tuple[Path, ...]:
    initial = case.system(system).flow.initial
    return (Path(initial.path),) if initial.kind == "file" else ()


def _memory(transform: Transform) -> int:
    physical = int(np.prod(transform.physical_shape)) * transform.grid.real.itemsize
    spectral = int(np.prod(transform.spectral_shape)) * transform.grid.complex.itemsize
    return ARRAYS_PER_MEMBER["physical"] * physical + ARRAYS_PER_MEMBER["spectral"] * spectral
