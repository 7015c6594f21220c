"""Runs of the small case that tests on ranks share."""

from __future__ import annotations

from pathlib import Path

from eddyscope.parallel.world import World
from eddyscope.stages.dns import STAGE
from eddyscope.stages.job import Job
from small_flows import make_case


def simulated(world: World, folder: Path, out: Path, overrides: list[str]) -> Path:
    """Simulate the small case's base system; gives its dataset. Collective over `world`."""
    case = world.on_root(lambda: make_case(folder, *overrides))
    job = Job(case, world, out, systems=("base",))
    STAGE.plan(job)
    STAGE.run(job)
    return job.dataset("base")
