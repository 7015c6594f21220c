"""What a study will do and what it costs, counted before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eddyscope.artefacts.status import read_status
from eddyscope.parallel.progress import duration
from eddyscope.parallel.world import World
from eddyscope.stages.dns_cost import measured
from eddyscope.stages.ensemble import Ensemble
from eddyscope.stages.job import Job
from eddyscope.stages.stage import load_stages
from eddyscope.stages.study_job import job_of
from eddyscope.storage.disk import free_space, space_taken
from eddyscope.study.plan import Plan, System, Training
from eddyscope.study.tables import is_complete

__all__ = ["described", "require_simulations"]


def require_simulations(plan: Plan, out: Path, world: World) -> None:
    """CaseError for all that the case of a simulation makes impossible. Collective."""
    (stage,) = load_stages(["dns"])
    for system in plan.systems:
        stage.plan(job_of(system, out, world)[1])


def described(plan: Plan, out: Path, world: World, measure: bool) -> list[str]:
    """What would be done, and what it costs, a line each. Collective."""
    systems, trainings, cells = plan.systems, plan.trainings, plan.cells
    new_systems = world.on_root(lambda: [s for s in systems if not _done(s, out)])
    new_trainings = world.on_root(lambda: [t for t in trainings if not _done(t, out)])
    new_cells = world.on_root(lambda: [cell for cell in cells if not is_complete(cell, out)])
    models, runs = sum(cell.models for cell in cells), sum(cell.trainings for cell in cells)
    base, rest = (sum(item.cost for item in items) for items in (new_trainings, new_cells))
    written = sum(cell.bytes for cell in new_cells)
    disk = world.on_root(lambda: free_space(out))
    datasets = sum(_bytes(job_of(system, out, world)[1], world) for system in new_systems)
    simulations = [_measured(system, out, world) for system in new_systems] if measure else None
    return [
        f"study {plan.name}: {len(plan.cases)} cases, {', '.join(plan.axes) or 'no axes'}",
        f"  dns: {_count(len(systems), len(new_systems))}, on {world.size} rank(s) together",
        *(f"    {system.id}: {system.words}" for system in systems),
        f"  train: {_count(len(trainings), len(new_trainings))}",
        f"  cells: {_count(len(cells), len(new_cells))}, {models} models in all, by {runs} "
        "trainings",
        *(f"    {name}: {sum(c.name == name for c in cells)}" for name in plan.cases),
        f"  disk: {(datasets + written) / 2**20:.0f} MiB ({datasets / 2**20:.0f} for datasets, "
        f"{written / 2**20:.0f} for models), of {disk / 2**20:.0f} MiB that are free for {out}",
        *_times(base, rest, simulations, world.size),
    ]


def _times(
    base: float, rest: float, simulations: Sequence[tuple[float, list[str]]] | None, ranks: int
) -> list[str]:
    """Seconds of one core for base models and cells, and for all of it on the ranks; simulations:
    seconds on the ranks and lines of each, None where they were not measured."""
    words = (
        f"  time: about {duration(base)} for base models and {duration(rest)} for cells on one "
        f"core, {duration((base + rest) / ranks)} on {ranks} rank(s)"
    )
    if simulations is None:
        return [f"{words}; simulations not counted (--measure times a few steps of each)"]
    whole = sum(seconds for seconds, _ in simulations)
    return [
        f"{words}; {duration(whole)} for simulations, measured on these: "
        f"{duration((base + rest) / ranks + whole)} in all",
        *(line for _, lines in simulations for line in lines),
    ]


def _measured(system: System, out: Path, world: World) -> tuple[float, list[str]]:
    """Seconds of a simulation, from a few steps, and lines that say of which. Collective."""
    _, job = job_of(system, out, world)
    seconds, lines = measured(Ensemble.of(job, "base"))
    return seconds, [f"  {system.words}: {line.strip()}" for line in lines]


def _bytes(job: Job, world: World) -> int:
    """What a simulation's files take at the most, beside what is there. Collective."""
    (stage,) = load_stages(["dns"])
    steps = [step for work in stage.works(job) for step in work.steps]
    sizes = [step.sizes for step in steps]
    return world.on_root(
        lambda: sum(max(size - space_taken(path), 0) for one in sizes for path, size in one.items())
    )


def _done(item: System | Training, out: Path) -> bool:
    """Whether its record says that it is complete."""
    folder = item.folder(out)
    name = "base/status.json" if isinstance(item, System) else "status/train.json"
    found = read_status(folder / name)
    return found is not None and found.state == "complete"


def _count(all_of_them: int, new: int) -> str:
    return (
        f"{all_of_them}, of which {all_of_them - new} are complete"
        if new < all_of_them
        else (f"{all_of_them}")
    )
