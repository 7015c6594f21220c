"""How long steps, and what is done between them, take on these ranks; how many steps it will be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eddyscope.config.arrays import ComplexArray, FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.flows.base import Flow
from eddyscope.parallel.progress import duration
from eddyscope.parallel.reduce import largest
from eddyscope.parallel.world import Comm, World
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.observers import SampleFilter
from eddyscope.solver.pace import CflPace, Pace
from eddyscope.solver.schemes.base import Scheme
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.simulation import Simulation
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.spectral.transform import TransformSettings

__all__ = ["RunTime", "StepCost", "expected_steps", "seconds_a_step", "seconds_of", "time_of_run"]

TIMED_SECONDS = 1.0
"""Seconds of steps that are timed, about."""

TIMED_STEPS = 100
"""Steps that are timed at the most."""

COARSE = 64
"""Modes of the coarse run from which the number of steps that adapt is told."""

COARSE_SECONDS = 4.0
"""Seconds that the coarse run may take; the rest of the time is taken to be like its last part."""


@dataclass(frozen=True)
class StepCost:
    seconds: float
    """Wall time of one step on the slowest rank."""
    dt: float
    """Length of a step; where steps adapt, the mean that is expected. Infinite without steps."""


def seconds_a_step(simulation: Simulation, transform: TransformSettings) -> StepCost:
    """Advance a new run by a few steps and time them, after two that load all that is needed.

    transform: the run's, for the coarse run of `expected_steps`. Collective; all ranks take the
    same number of steps.
    """
    steps = expected_steps(simulation, transform)
    simulation.run(0, [])
    _timed(simulation, 1)
    first = _timed(simulation, 1)
    seconds = (
        _timed(simulation, max(3, min(TIMED_STEPS, int(TIMED_SECONDS / first)))) if first else 0.0
    )
    dt = simulation.schedule.end / steps if steps else math.inf
    return StepCost(seconds or first, dt)


@dataclass(frozen=True)
class RunTime:
    """Of a whole run."""

    seconds: float
    words: str
    """What it is made of, on one line."""


def time_of_run(
    simulation: Simulation, subgrid: SampleFilter, transform: TransformSettings
) -> RunTime:
    """The time of a whole run: its steps, records and samples, measured on these ranks.

    transform: the run's. The simulation is at its start, and is advanced. Collective.
    """
    schedule, comm = simulation.schedule, simulation.flow.transform.mesh.comm
    diagnostics, state = Diagnostics(simulation.flow), simulation.omega_hat

    def sample() -> None:
        advection = simulation.scheme.advection.of(state)
        subgrid.sample(state, advection)
        diagnostics.spectra(state, advection)

    step = seconds_a_step(simulation, transform)
    adapted = round(schedule.end / step.dt)
    steps = adapted if schedule.total_steps is None else schedule.total_steps
    record = seconds_of(comm, lambda: diagnostics.means(state, 0.0, 0))
    costs = [
        ("step", steps, step.seconds),
        ("record", len(schedule.times), record),
        ("sample", schedule.samples, seconds_of(comm, sample)),
    ]
    parts = [f"{count} {name}s x {seconds * 1e3:.3g} ms" for name, count, seconds in costs]
    total = sum(count * seconds for _, count, seconds in costs)
    words = f"time: {' + '.join(parts)} = {total:.3g} s ({duration(total)}), measured here"
    return RunTime(total, words)


def expected_steps(simulation: Simulation, transform: TransformSettings) -> int:
    """How many steps a new run will take. Collective.

    Where steps adapt, the velocity decides, which forcing and drag may make much larger or
    smaller than it is at the start. The same flow on a coarse grid, a member on each rank
    that owns one, by the run's own scheme, pace and kind of transform, tells it: large scales
    carry most of it.
    """
    schedule, pace = simulation.schedule, simulation.pace
    if schedule.total_steps is not None or not isinstance(pace, CflPace):
        return schedule.total_steps or 0
    spans = (later - sooner for sooner, later in pairwise(schedule.times))
    counts: list[int] = []
    for span, fastest in _coarse_velocities(simulation, pace.cfl, transform.estimated(), spans):
        counts.append(pace.divide(0, span, fastest, 0.0)[0])
    known = counts[len(counts) // 2 :]  # past what the flow does at first
    more = (schedule.last - len(counts)) * (sum(known) / len(known) if known else 1.0)
    return int(largest(simulation.flow.transform.mesh.comm, float(sum(counts)) + more))


def _coarse_velocities(
    simulation: Simulation, cfl: float, settings: TransformSettings, spans: Iterable[float]
) -> list[tuple[float, float]]:
    """(span of time, largest velocity in it), as far as it could be told. Collective."""
    flow, n = simulation.flow, COARSE
    finest = flow.transform.grid.n
    while n < finest and not _resolves(n // 2, flow, settings):
        n *= 2
    n = min(n, finest)
    whole = flow.transform.gather(simulation.omega_hat, n)
    if not whole:
        return []
    coarse = _alone(flow, n, settings)
    state = coarse.transform.zeros_spectral()
    state[0] = coarse.transform.take(next(iter(whole.values())))
    # What a finer grid would take on to smaller scales is taken out (Hou & Li's filter).
    k = np.hypot(coarse.transform.kx, coarse.transform.ky) / coarse.transform.grid.k_max
    damped = np.exp(-36.0 * k**36) if n < finest else np.ones_like(k)
    smooth = coarse.transform.from_host(damped)
    scheme = SCHEMES.build(simulation.scheme.settings, coarse, 1.0)
    pace = CflPace(cfl, coarse.transform.grid.spacing)
    return list(_velocities(scheme, pace, state, smooth, spans))


def _resolves(n: int, flow: Flow, settings: TransformSettings) -> bool:
    """Whether a grid of n modes holds the flow's forcing."""
    try:
        _alone(flow, n, settings)
    except CaseError:
        return False
    return True


def _alone(flow: Flow, n: int, settings: TransformSettings) -> Flow:
    """The flow with one member of n modes on this rank alone."""
    grid, mesh = Grid(n, flow.transform.grid.dealias), World.single().mesh(1, n // 2)
    return flow.on(TRANSFORMS.build(settings, grid, mesh, flow.layers))


def _velocities(
    scheme: Scheme, pace: Pace, omega_hat: ComplexArray, smooth: FloatArray, spans: Iterable[float]
) -> Iterator[tuple[float, float]]:
    """Each span and the largest velocity in it, while there is time and as long as that is
    finite."""
    began, step = time.monotonic(), 0
    scheme.advection.of(omega_hat)
    fastest = scheme.advection.fastest
    for span in spans:
        done, dt, largest_here = 0.0, scheme.dt, fastest
        while span - done > 1e-9 * span:
            dt = pace.divide(0, span - done, fastest, dt)[1]
            scheme.set_dt(dt)
            scheme.step(omega_hat, 0.0, step, lambda _: None)
            omega_hat *= smooth
            fastest, done, step = scheme.fastest, done + dt, step + 1
            if not math.isfinite(fastest) or time.monotonic() - began > COARSE_SECONDS:
                return
            largest_here = max(largest_here, fastest)
        yield span, largest_here


def _timed(simulation: Simulation, steps: int) -> float:
    """Seconds a step of up to `steps` steps; 0 where the run is at its end. Collective."""
    comm, done = simulation.flow.transform.mesh.comm, 0
    comm.Barrier()
    began = time.perf_counter()
    while done < steps and simulation.clock.mark < simulation.schedule.last:
        simulation.advance()
        done += 1
    spent = float(largest(comm, time.perf_counter() - began))
    return spent / done if done else 0.0


def seconds_of(comm: Comm, work: Callable[[], object]) -> float:
    """Wall time of `work` on the slowest rank, the second time it is done. Collective."""
    work()
    comm.Barrier()
    began = time.perf_counter()
    work()
    return float(largest(comm, time.perf_counter() - began))
