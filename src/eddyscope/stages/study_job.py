"""What makes the things of a study: ordinary cases in ordinary output folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eddyscope.config.identity import deciding
from eddyscope.config.streams import integer_seed
from eddyscope.parallel.world import World
from eddyscope.stages.case import Case, load_case
from eddyscope.stages.job import Job
from eddyscope.study.plan import Cell, System, Training, identity

__all__ = ["Item", "job_of", "system_of"]

SOLVER = ("grid", "time", "transform", "filter")
"""Sections that decide a simulation, beside the system's own."""

NEVER = ("checkpoint", "stop", "storage")
"""Sections that a simulation has, and that decide nothing."""

Item = System | Training | Cell


def job_of(
    item: Item, out: Path, group: World, advise: bool = False, seconds: float | None = None
) -> tuple[list[str], Job]:
    """The stages that make an item, and what they are given. Collective. CaseError.

    seconds: after which they are to stop.
    """
    folder = item.folder(out)
    if isinstance(item, System):
        case = group.on_root(lambda: Case.model_validate(item.stopping(seconds)))
        return ["dns"], Job(case, group, folder, systems=("base",))
    limit = [] if seconds is None else [f"stop.seconds={seconds!r}"]
    overrides = [*item.overrides, *item.sharing(out), *limit]
    case = group.on_root(lambda: load_case(item.case, overrides, "the study's axes"))
    if isinstance(item, Training):
        return ["train"], Job(case, group, folder)
    return [*["advise"] * advise, "transfer", "evaluate"], Job(case, group, folder)


def system_of(case: Case, name: str, resolved: Mapping[str, object]) -> System:
    """A system of a case. Its members draw from random numbers of its own, whichever its role, so
    that those of two systems are independent; where the case says `paired`, from the case's."""
    named, words = case.named.get(name), f"{case.name}, {name}"
    if named:
        return System(identity({"named": str(named.path)}), words, named=named.path)
    system = resolved[name]
    assert isinstance(system, dict)
    own = {
        **system,
        "dataset": None,
        "filter": None,
        "ensemble": {**system["ensemble"], "split": None},
    }
    settings = {key: resolved[key] for key in SOLVER}
    settings["filter"] = system["filter"] or resolved["filter"]
    settings |= {"seed": case.seed, "paired": case.paired, "base": own}
    decided = {key: deciding(getattr(case, key)) for key in SOLVER}
    decided["filter"] = deciding(case.filter_of(name))
    decides = identity({**settings, **decided})
    if not case.paired:
        settings["seed"] = integer_seed("system", case.seed, int(decides, 16))
    rest = {key: resolved[key] for key in NEVER}
    return System(decides, words, {"name": decides, **settings, **rest})
