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
    comm = simulation.flow.transform.mesh.comm
    simulation.run(0, [])
    simulation.advance()
    first = seconds_of(comm, simulation.advance)
    count = max(3, min(MOST, int(ENOUGH / first)))
    began = time.perf_counter()
    done = 0
    while done < count and simulation.clock.mark < simulation.schedule.last:
        simulation.advance()
        done += 1
    if not done:  # the whole run is two steps long, or one
        return StepCost(first, simulation.clock.dt)
    spent = float(largest(comm, time.perf_counter() - began))
    return StepCost(spent / done, simulation.clock.dt)


def seconds_of(comm: Any, work: Callable[[], object]) -> float:
    """Wall time of `work` on the slowest rank, the second time it is done. Collective."""
    work()
    comm.Barrier()
    began = time.perf_counter()
    work()
    return float(largest(comm, time.perf_counter() - began))
