"""`eddyscope dns`: simulate an ensemble and filter it in situ into a dataset.

Writes <system>/dataset.h5, <system>/checkpoints/ and <system>/status.json. Restarted from
the newest checkpoint; samples that are already committed are not written again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.schema import EnsembleSettings
from eddyscope.artefacts.dataset.writer import DatasetWriter, Layout, capacity, create, mend, size
from eddyscope.config import provenance
from eddyscope.config.arrays import BoolArray
from eddyscope.config.errors import CaseError
from eddyscope.filtering.subgrid import Subgrid, unfiltered
from eddyscope.flows.initial import INITIALS, initialise
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import BlewUp, agree
from eddyscope.parallel.memory import held, resident
from eddyscope.parallel.progress import duration
from eddyscope.parallel.reduce import largest
from eddyscope.parallel.stop import StopRequests
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.cost import seconds_a_step, seconds_of
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.guard import Guard, too_long
from eddyscope.solver.observers import Keeper, Recorder, Reporter, Sampler
from eddyscope.solver.pace import make_pace
from eddyscope.solver.schedule import FixedSteps, FreeSteps, Schedule, whole_steps
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.simulation import Observer, Simulation
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.spectral.transform import Transform
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step
from eddyscope.storage.disk import free_space
from eddyscope.storage.drivers.registry import STORAGE_DRIVERS

LOADED = 60 * 2**20
"""Bytes that compiled loops and MPI-IO take once they are in use (measured, x86-64 Linux)."""

INITIAL_WORK = 4.8
"""Whole float64 fields of n × n at work while one member's initial condition is made."""

UNFILTERED_WORK = 3.1
"""The same while one member's unfiltered vorticity is made."""


def plan(job: Job) -> list[str]:
    """What the run would do and cost, a line each. Collective; raises CaseError."""
    program = resident() + LOADED
    lines = []
    for system in job.systems:
        draft = _draft(job, system)
        lines += [*_describe(job, system, draft), _memory(job, system, draft, program)]
        lines += _disk(job, system, draft)
        if job.measure:
            lines += _measure(job, system)
    return lines


def _describe(job: Job, system: str, draft: Simulation) -> list[str]:
    mesh, grid, schedule = draft.flow.transform.mesh, draft.flow.transform.grid, draft.schedule
    return [
        f"{system}: {mesh.ensemble} members on {grid.n} x {grid.n} modes, "
        f"products on {grid.n_product} x {grid.n_product} points",
        f"  mesh: {mesh.shape[0]} (members) x {mesh.shape[1]} (y-pencils)",
        f"  steps: {_steps(job.case, schedule)}, to t = {schedule.times[-1]:g}",
    ]


def _steps(case: Case, schedule: Schedule) -> str:
    if schedule.total_steps is None:
        return f"as cfl = {case.time.cfl:g} asks"
    return f"{schedule.total_steps} of dt = {case.time.dt:g}"


def _memory(job: Job, system: str, draft: Simulation, program: int) -> str:
    """The peak of the rank that needs most, in words. Collective."""
    case, flow = job.case, draft.flow
    subgrid = Subgrid(flow, case.filter, case.transform)
    owned = len(flow.transform.owned)
    layout = make_layout(case, system, draft.schedule)
    waiting = capacity(layout, owned, job.world.comm) * owned * layout.member_bytes()
    arrays = held(draft, Diagnostics(flow), subgrid) + waiting
    whole = 8 * case.grid.n**2
    work = max(
        INITIAL_WORK * whole,
        subgrid.memory(owned) + Diagnostics.memory(flow.transform),
        UNFILTERED_WORK * whole if case.filter.full_fields else 0.0,
    )
    peak, of_arrays = largest(job.world.comm, [program + arrays + work, arrays + work])
    return (
        f"  memory: {peak / 2**20:.0f} MiB a rank at the peak, "
        f"{of_arrays / 2**20:.0f} MiB of it for fields"
    )


def _disk(job: Job, system: str, draft: Simulation) -> list[str]:
    """What is written, in words. Collective."""
    room = _room(job, system, draft)
    dataset, checkpoints = room.values()
    kept = job.case.checkpoint.keep + 1
    layout = make_layout(job.case, system, draft.schedule)
    fields = layout.samples * layout.sample_bytes()
    free = job.world.on_root(lambda: free_space(job.out))
    return [
        f"  dataset: {layout.samples} samples, {dataset} bytes ({dataset / 2**20:.1f} MiB), "
        f"{fields} of them fields",
        f"  checkpoints: up to {kept} of {checkpoints // kept} bytes "
        f"({checkpoints / 2**20:.1f} MiB)",
        f"  disk: {(dataset + checkpoints) / 2**20:.1f} MiB, of {free / 2**20:.1f} MiB that are "
        f"free for {job.out}",
    ]


def _room(job: Job, system: str, draft: Simulation) -> dict[Path, int]:
    """Bytes of the files that the run will have on the disk at the most. Collective."""
    layout = make_layout(job.case, system, draft.schedule)
    checkpoints = _checkpoints(job, system, draft.flow.transform)

    def sizes() -> dict[Path, int]:
        one = checkpoints.size(draft.clock.as_dict(), draft.state)
        return {
            job.dataset(system): size(layout, _attributes(job, system)),
            # A new one is complete before the oldest is removed.
            checkpoints.folder: one * (job.case.checkpoint.keep + 1),
        }

    return job.world.on_root(sizes)


def _attributes(job: Job, system: str) -> dict[str, Any]:
    return {**job.provenance(), "system": system}


def _measure(job: Job, system: str) -> list[str]:
    """Times of steps, records and samples on these ranks, and of a whole run. Collective."""
    case, world = job.case, job.world
    schedule = make_schedule(case, system)
    transform = _make_transform(job, system)
    simulation = _build(job, system, schedule, transform)
    agree(world.comm, lambda: _initialise(simulation, case, system))
    simulation.run(0, [])
    problem = too_long(simulation, case.time.dt or 0.0)
    step = seconds_a_step(simulation)
    steps = schedule.total_steps or round(schedule.end / step.dt)
    flow, state = simulation.flow, simulation.omega_hat
    diagnostics, subgrid = Diagnostics(flow), Subgrid(flow, case.filter, case.transform)

    def sample() -> None:
        advection = simulation.stepper.advection.of(state)
        subgrid.sample(state, advection)
        diagnostics.spectra(state, advection)

    counts = {"step": steps, "record": len(schedule.times), "sample": len(schedule.sample_times)}
    seconds = {
        "step": step.seconds,
        "record": seconds_of(world.comm, lambda: diagnostics.means(state, 0.0, 0)),
        "sample": seconds_of(world.comm, sample),
    }
    parts = [f"{counts[what]} {what}s x {seconds[what] * 1e3:.3g} ms" for what in counts]
    total = sum(counts[what] * seconds[what] for what in counts)
    line = f"  time: {' + '.join(parts)} = {total:.3g} s ({duration(total)}), measured here"
    return [line, *([f"  warning: {problem}"] if problem else [])]


def run(job: Job) -> None:
    """Simulate each system. Collective."""
    for system in job.systems:
        job.case.system(system)
        folder = job.out / system
        step = Step(
            name=f"dns.{system}",
            sections=("seed", "grid", "time", "filter", "transform", system),
            inputs=_initial_files(job.case, system),
            outputs=(job.dataset(system),),
            scratch=(folder / "checkpoints", folder / "wisdom"),
            status=folder / "status.json",
            sizes=_room(job, system, _draft(job, system)),
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
        create(path, world.comm, layout, _attributes(job, system))
    mend(path, world.comm)
    committed: BoolArray = world.on_root(lambda: np.all(Dataset(path).committed, axis=0))
    transform = _make_transform(job, system, wisdom=job.out / system / "wisdom")
    with (
        StopRequests(world, path.parent, case.stop) as requests,
        DatasetWriter.opened(
            path, layout, world.comm, transform.owned, case.storage.driver
        ) as writer,
    ):
        simulation = _build(job, system, schedule, transform, requests.pending)
        flow = simulation.flow
        diagnostics = Diagnostics(flow)
        checkpoints = _checkpoints(job, system, flow.transform)
        _start(simulation, checkpoints, job, system)
        guard = Guard(checkpoints, world)
        observers: list[Observer] = [
            guard,
            Recorder(diagnostics, writer),
            Sampler(
                Subgrid(flow, case.filter, case.transform),
                diagnostics,
                writer,
                committed,
                unfiltered if case.filter.full_fields else None,
            ),
            Keeper(checkpoints, requests, writer.commit),
            Reporter(world, f"dns.{system}", simulation.time),
        ]
        try:
            with guard.ending(simulation):
                simulation.run(schedule.last, observers)
        except BlewUp:  # by all ranks together
            writer.commit()
            raise
    found = world.on_root(lambda: quality(Dataset(path)))
    world.say(f"dns.{system}: {found.summary}")
    for warning in found.warnings:
        world.say(f"warning: {warning}")


def _draft(job: Job, system: str) -> Simulation:
    """What the run would be, checked, to learn its sizes; nothing is computed. Collective."""
    settings = job.case.system(system)
    schedule = make_schedule(job.case, system)
    transform = _make_transform(job, system, planned=False)
    agree(job.world.comm, lambda: _check(job.case, settings, transform))
    return _build(job, system, schedule, transform)


def _build(
    job: Job,
    system: str,
    schedule: Schedule,
    transform: Transform,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Simulation:
    case, settings = job.case, job.case.system(system)
    flow = FLOWS.build(settings.flow, transform, seed=case.seed)
    pace = make_pace(schedule, case.time.cfl, transform.grid.spacing)
    stepper = SCHEMES.build(case.time.scheme, flow, case.time.dt or 1.0)
    state = transform.zeros_spectral()
    return Simulation(flow, stepper, NoClosure(), state, schedule, pace, asked_to_stop)


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
    agree(job.world.comm, lambda: _initialise(simulation, job.case, system))


def _initialise(simulation: Simulation, case: Case, system: str) -> None:
    initial = INITIALS.build(case.system(system).flow.initial, case.seed)
    initialise(simulation.omega_hat, simulation.flow.transform, initial)


def make_schedule(case: Case, system: str) -> Schedule:
    """The ensemble's marks. CaseError if a fixed step does not lead to its times."""
    ensemble: EnsembleSettings = case.system(system).ensemble
    name, dt = f"{system}.ensemble", case.time.dt
    samples, records = ensemble.samples, ensemble.diagnostics
    if dt is None:
        return FreeSteps.of(ensemble.spin_up, ensemble.interval, samples, records)
    first = whole_steps(f"{name}.spin_up", ensemble.spin_up, dt)
    every = whole_steps(f"{name}.interval", ensemble.interval, dt)
    if every < 1:
        raise CaseError(f"{name}.interval = {ensemble.interval:g} is less than time.dt = {dt:g}")
    return FixedSteps.of(first, every, samples, records, dt)


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
        layers=FLOWS[case.system(system).flow.kind].layers,
    )


def _make_transform(
    job: Job, system: str, wisdom: Path | None = None, planned: bool = True
) -> Transform:
    settings, grid, of_system = job.case.transform, Grid.of(job.case.grid), job.case.system(system)
    mesh = job.world.mesh(of_system.ensemble.members, grid.n // 2, settings.shape)
    layers = FLOWS[of_system.flow.kind].layers
    if not planned:
        settings = settings.estimated()
    return TRANSFORMS.build(settings, grid, mesh, layers, wisdom)


def _check(case: Case, settings: Any, transform: Transform) -> None:
    """Build what the run would build, so that what is wrong is said before anything starts."""
    STORAGE_DRIVERS[case.storage.driver.kind].require()
    FLOWS.build(settings.flow, transform)
    INITIALS.build(settings.flow.initial, case.seed).coefficients(
        case.grid.n, settings.ensemble.members - 1
    )


def _initial_files(case: Case, system: str) -> tuple[Path, ...]:
    initial = case.system(system).flow.initial
    return (Path(initial.path),) if hasattr(initial, "path") else ()
