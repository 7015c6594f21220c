"""How long steps, and what is done between them, take on these ranks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eddyscope.parallel.reduce import largest
from eddyscope.solver.simulation import Simulation

__all__ = ["StepCost", "seconds_a_step", "seconds_of"]

ENOUGH = 1.0
"""Seconds of steps that are timed, about."""

MOST = 100
"""Steps that are timed at the most."""


@dataclass(frozen=True)
class StepCost:
    seconds: float
    """Wall time of one step on the slowest rank."""
    dt: float
    """Length of the last step."""


def seconds_a_step(simulation: Simulation) -> StepCost:
    """Advance a new run by a few steps and time them, after two that load all that is needed.

    Collective; all ranks take the same number of steps.
    """
    simulation.run(0, [])
    _timed(simulation, 1)
    first = _timed(simulation, 1)
    seconds = _timed(simulation, max(3, min(MOST, int(ENOUGH / first)))) if first else 0.0
    return StepCost(seconds or first, simulation.clock.dt)


def _timed(simulation: Simulation, most: int) -> float:
    """Seconds a step of up to `most` steps; 0 where the run is at its end. Collective."""
    comm, done = simulation.flow.transform.mesh.comm, 0
    comm.Barrier()
    began = time.perf_counter()
    while done < most and simulation.clock.mark < simulation.schedule.last:
        simulation.advance()
        done += 1
    spent = float(largest(comm, time.perf_counter() - began))
    return spent / done if done else 0.0


def seconds_of(comm: Any, work: Callable[[], object]) -> float:
    """Wall time of `work` on the slowest rank, the second time it is done. Collective."""
    work()
    comm.Barrier()
    began = time.perf_counter()
    work()
    return float(largest(comm, time.perf_counter() - began))
