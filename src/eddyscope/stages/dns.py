"""`eddyscope dns`: simulate an ensemble and filter it in situ into a dataset.

Writes <system>/dataset.h5, <system>/checkpoints/ and <system>/status.json. Restarted from
the newest checkpoint; samples that are already committed are not written again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eddyscope.config import provenance
from eddyscope.config.case import CaseError
from eddyscope.dataset.reader import Dataset
from eddyscope.dataset.schema import EnsembleSettings
from eddyscope.dataset.statistics import quality
from eddyscope.dataset.writer import DatasetWriter, Layout, create
from eddyscope.filtering.subgrid import Subgrid, unfiltered
from eddyscope.flows.base import Flow
from eddyscope.flows.initial import INITIALS
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import BlewUp, agree
from eddyscope.parallel.stop import StopRequests
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.pace import CflPace, FixedPace, Pace
from eddyscope.solver.schedule import Schedule, whole_steps
from eddyscope.solver.simulation import Observer, Simulation
from eddyscope.solver.steppers import SCHEMES
from eddyscope.solver.watch import Guard, Keeper, Reporter
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import Transform, make_transform
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step

ARRAYS_PER_MEMBER = {"spectral": 14, "physical": 6}
"""Arrays that a member's state, work space and transform buffers take (see `plan`)."""


def plan(job: Job) -> list[str]:
    """What the run would do and cost, a line each. Collective; raises CaseError."""
    lines = []
    for system in job.systems:
        settings = job.case.system(system)
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
            f"  steps: {_steps(job.case, schedule)}, to t = {schedule.times[-1]:g}",
            f"  memory: about {_memory(transform) / 2**20:.0f} MiB a rank for fields",
            f"  dataset: {layout.samples} samples, "
            f"{layout.samples * layout.sample_bytes() / 2**20:.1f} MiB",
        ]
    return lines


def _steps(case: Case, schedule: Schedule) -> str:
    if schedule.steps is None:
        return f"as cfl = {case.time.cfl:g} asks"
    return f"{sum(schedule.steps)} of dt = {case.time.dt:g}"


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
            scratch=(folder / "checkpoints", folder / "wisdom"),
            status=folder / "status.json",
        )
        job.perform(step, lambda system=system: simulate(job, system))  # type: ignore[misc]


def simulate(job: Job, system: str) -> None:
    """Run one ensemble from its newest checkpoint, or its start, to its last sample. Collective."""
    case, world = job.case, job.world
    path = job.dataset(system)
    schedule = make_schedule(case, system)
    layout = make_layout(case, system, schedule)
    is_new = not world.on_root(path.exists)
    if is_new:
        # Checkpoints without the samples before them are of no use.
        world.on_root(lambda: shutil.rmtree(path.parent / "checkpoints", ignore_errors=True))
        create(path, world.comm, layout, {**job.provenance(), "system": system})
    committed = world.on_root(lambda: Dataset(path).committed.all(axis=0))
    with (
        StopRequests(world, path.parent, case.stop) as requests,
        DatasetWriter.opened(path, layout, world.comm) as writer,
    ):
        simulation = _build(job, system, schedule, requests)
        flow = simulation.flow
        checkpoints = _checkpoints(job, system, flow.transform)
        _start(simulation, checkpoints, job, system)
        observers: list[Observer] = [
            Guard(checkpoints, world, case.time.scheme),
            Recorder(Diagnostics(flow), writer),
            Sampler(
                Subgrid(flow, case.filter, case.transform), Diagnostics(flow), writer, committed
            ),
            Keeper(checkpoints, requests, writer.write_records),
            Reporter(world, f"dns.{system}", simulation.time),
        ]
        try:
            simulation.run(schedule.last, observers)
        except BlewUp:  # by all ranks together
            writer.write_records()
            raise
        writer.write_records()
    for warning in world.on_root(lambda: quality(Dataset(path)).warnings):
        world.say(f"warning: {warning}")


def _build(job: Job, system: str, schedule: Schedule, requests: StopRequests) -> Simulation:
    case, settings = job.case, job.case.system(system)
    wisdom = job.out / system / "wisdom"
    transform = _make_transform(job, settings.ensemble.members, wisdom)
    flow = FLOWS.build(settings.flow, transform, seed=case.seed)
    pace: Pace
    if schedule.steps is not None and case.time.dt is not None:
        pace = FixedPace(schedule.steps, case.time.dt)
    else:
        pace = CflPace(case.time.cfl or 0.0, transform.grid.spacing)
    stepper = SCHEMES[case.time.scheme](flow, case.time.dt or 1.0)
    state = transform.zeros_spectral()
    return Simulation(flow, stepper, NoClosure(), state, schedule, pace, requests.pending)


def _checkpoints(job: Job, system: str, transform: Transform) -> Checkpoints:
    resolved = job.case.resolved()
    identity = provenance.digest([resolved[key] for key in ("seed", "grid", "time", system)])
    folder = job.out / system / "checkpoints"
    return Checkpoints(folder, job.case.checkpoint, identity, transform)


def _start(simulation: Simulation, checkpoints: Checkpoints, job: Job, system: str) -> None:
    """Set the state: from the newest intact checkpoint, else the initial condition. Collective."""
    clock, state = simulation.clock, simulation.state
    found = checkpoints.load(clock.as_dict(), state)
    for path in checkpoints.passed_over:
        job.world.say(f"dns.{system}: {path.name} is damaged or of another run; not used")
    if found is not None:
        clock.restore(found)
        job.world.say(f"dns.{system}: from the checkpoint at step {clock.step}")
        return
    for array in state.values():
        array[...] = 0
    transform, omega_hat = simulation.flow.transform, simulation.omega_hat
    agree(job.world.comm, lambda: initialise(omega_hat, transform, job.case, system))


def initialise(omega_hat: Any, transform: Transform, case: Case, system: str) -> None:
    """Set each local member's initial vorticity."""
    initial = INITIALS.build(case.system(system).flow.initial, case.seed)
    members = transform.mesh.members
    for i, member in enumerate(range(members.start, members.stop)):
        omega_hat[i, 0] = transform.take(initial.coefficients(case.grid.n, member))


def make_schedule(case: Case, system: str) -> Schedule:
    """The ensemble's marks. CaseError if a fixed step does not lead to its times."""
    ensemble: EnsembleSettings = case.system(system).ensemble
    name, dt = f"{system}.ensemble", case.time.dt
    samples, records = ensemble.samples, ensemble.diagnostics
    if dt is None:
        return Schedule.of_times(ensemble.spin_up, ensemble.interval, samples, records)
    first = whole_steps(f"{name}.spin_up", ensemble.spin_up, dt)
    every = whole_steps(f"{name}.interval", ensemble.interval, dt)
    if every < 1:
        raise CaseError(f"{name}.interval = {ensemble.interval:g} is less than time.dt = {dt:g}")
    return Schedule.of_steps(first, every, samples, records, dt)


def make_layout(case: Case, system: str, schedule: Schedule) -> Layout:
    """The sizes and coordinates of the system's dataset."""
    return Layout(
        members=case.system(system).ensemble.members,
        sample_times=schedule.sample_times,
        record_times=schedule.times,
        n_shells=Grid.of(case.grid).n_shells,
        grids={n: case.filter.delta(n) for n in case.filter.n},
        dtype=case.filter.precision,
        full=case.grid.n if case.filter.full_fields else None,
    )


@dataclass
class Recorder:
    """Writes the diagnostics at every mark."""

    diagnostics: Diagnostics
    writer: DatasetWriter

    def observe(self, simulation: Simulation) -> None:
        mark = simulation.at_mark
        if mark is None:
            return
        clock, transform = simulation.clock, simulation.flow.transform
        times = simulation.schedule.times
        elapsed = times[mark] - times[mark - 1] if mark else 0.0
        values = self.diagnostics.means(simulation.omega_hat, clock.time, clock.step, elapsed)
        values["cfl"] = clock.dt * self.diagnostics.max_velocity() / transform.grid.spacing
        mesh = transform.mesh
        writes = mesh.pencil_comm.rank == 0  # its pencils all hold the same sums
        self.writer.add_record(mark, mesh.members if writes else slice(0, 0), values)


@dataclass
class Sampler:
    """Filters the state and writes it when a sample is due that is not yet committed."""

    subgrid: Subgrid
    diagnostics: Diagnostics
    writer: DatasetWriter
    committed: Any
    """Whether each sample is committed already, shape (sample,)."""

    def observe(self, simulation: Simulation) -> None:
        mark = simulation.at_mark
        sample = None if mark is None else simulation.schedule.samples[mark]
        if sample is None or self.committed[sample]:
            return
        self.take(sample, simulation.flow, simulation.omega_hat, simulation.stepper.scratch)

    def take(self, sample: int, flow: Flow, omega_hat: Any, scratch: Any) -> None:
        """Filter the state and write it as a sample. Collective."""
        advection = flow.advection(omega_hat, scratch)
        fields = self.subgrid.sample(omega_hat, advection)
        shells = self.diagnostics.spectra(omega_hat, advection)
        first = flow.transform.mesh.members.start
        spectra = {
            m: {name: values[m - first] for name, values in shells.items()}
            for m in flow.transform.owned
        }
        full = unfiltered(flow, omega_hat) if self.writer.layout.full else None
        self.writer.write_sample(sample, fields, spectra, full)


def _make_transform(job: Job, members: int, wisdom: Path | None = None) -> Transform:
    settings, grid = job.case.transform, Grid.of(job.case.grid)
    shape = None if settings.mesh == "auto" else (settings.mesh[0], settings.mesh[1])
    mesh = job.world.mesh(members, grid.n // 2, shape)
    return make_transform(settings, grid, mesh, wisdom)


def _check(case: Case, settings: Any, transform: Transform) -> None:
    """Build what the run would build, so that what is wrong is said before anything starts."""
    FLOWS.build(settings.flow, transform)
    INITIALS.build(settings.flow.initial, case.seed).coefficients(
        case.grid.n, settings.ensemble.members - 1
    )


def _initial_files(case: Case, system: str) -> tuple[Path, ...]:
    initial = case.system(system).flow.initial
    return (Path(initial.path),) if hasattr(initial, "path") else ()


def _memory(transform: Transform) -> int:
    physical = int(np.prod(transform.physical_shape)) * transform.grid.real.itemsize
    spectral = int(np.prod(transform.spectral_shape)) * transform.grid.complex.itemsize
    return ARRAYS_PER_MEMBER["physical"] * physical + ARRAYS_PER_MEMBER["spectral"] * spectral
