"""What a simulation costs, from a few steps of it."""

from __future__ import annotations

from eddyscope.filtering.subgrid import Subgrid
from eddyscope.parallel.failure import agree
from eddyscope.solver.cost import time_of_run
from eddyscope.solver.watch import too_long
from eddyscope.stages.ensemble import Ensemble

__all__ = ["measured"]


def measured(ensemble: Ensemble) -> tuple[float, list[str]]:
    """Seconds of the whole run on these ranks, from some steps, a record and a sample; and a line
    each on what they are made of and what is wrong with the step. Collective."""
    world, case = ensemble.world, ensemble.case
    transform = ensemble.setup.make_transform(world)
    simulation = ensemble.setup.simulation(transform)
    agree(world.comm, lambda: ensemble.setup.set_initial(simulation.omega_hat, transform))
    simulation.run(0, [])
    problem = too_long(simulation, ensemble.setup.time.dt or 0.0)
    subgrid = Subgrid(simulation.flow, case.filter_of(ensemble.system), case.transform)
    time = time_of_run(simulation, subgrid, case.transform)
    return time.seconds, [f"  {time.words}", *([f"  warning: {problem}"] if problem else [])]
