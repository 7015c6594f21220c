"""`eddyscope study STUDY.toml`: many cases and axes, sharing simulations and base models.

Every system is simulated once, on all ranks together; then base models and cells are dealt to
groups of ranks. Each is an ordinary output folder of an ordinary case (`study/plan.py` says where),
so what is complete is skipped, what was killed goes on, and what failed leaves the others alone.
The evaluations of all complete cells are one table, and a page compares them; both are written now
and then while cells are made, and in the end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from eddyscope.config.errors import CaseError
from eddyscope.config.words import shortened
from eddyscope.parallel.failure import StoppedEarly, known_to_all
from eddyscope.parallel.world import World
from eddyscope.stages.cells import plan_of
from eddyscope.stages.study_cost import described, require_simulations
from eddyscope.stages.study_run import Run
from eddyscope.stages.study_tables import write_now_and_then, written
from eddyscope.study.axes import read_study
from eddyscope.study.tables import from_elsewhere, record

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
examples:
  eddyscope study configs/studies/shifts.toml --dry-run
  mpirun -n 64 eddyscope study shifts.toml --out DIR
  mpirun -n 64 eddyscope study shifts.toml --out DIR --do cells --part 3/8
  eddyscope study shifts.toml --out DIR --do tables
"""

KINDS = ("dns", "train", "cells", "tables")
"""What a study does, in this order."""


def add_arguments(command: argparse.ArgumentParser, folder: Callable[[str], Path]) -> None:
    """Those of the command line; folder: type of an output folder."""
    add = command.add_argument
    add("study", metavar="STUDY.toml", type=Path, help="a study, or a case with [study]")
    add("--out", metavar="DIR", type=folder, help="output folder (default: runs/<study's name>)")
    add("--only", metavar="CASE", nargs="+", default=[], help="these cases alone, by their names")
    add("--do", choices=KINDS, help="this alone: simulations, base models, cells, or the tables")
    add(
        "--part",
        metavar="I/N",
        type=_part,
        default=(1, 1),
        help="with --do dns, train or cells: the I-th of N shares, as for jobs of an array",
    )
    again = command.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="insist on a study that was begun")
    again.add_argument("--fresh", action="store_true", help="redo cells that are there")
    add("--dry-run", action="store_true", help="count all and say what it costs, start nothing")
    add("--measure", action="store_true", help="with --dry-run: time a few steps of each system")


def _part(text: str) -> tuple[int, int]:
    index, slash, parts = text.partition("/")
    if not (slash and index.isdigit() and parts.isdigit() and 1 <= int(index) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form I/N, as in 2/8")
    return int(index), int(parts)


def run(arguments: argparse.Namespace, folder: Callable[[Path], Path], world: World) -> int:
    """Do it; gives the exit status. Collective. CaseError for what is refused at once.

    folder: the absolute name of an output folder.
    """
    do, part = arguments.do, arguments.part
    if part != (1, 1) and do in (None, "tables"):
        raise CaseError(
            "--part deals one kind of work, since each needs all of the one before: give --do dns, "
            "--do train or --do cells with it"
        )
    if arguments.measure and not arguments.dry_run:
        raise CaseError("--measure is for --dry-run: give both")
    source: Path = arguments.study
    study = world.on_root(lambda: read_study(source))
    whole = plan_of(study, source, world)
    out = world.on_root(lambda: folder(arguments.out or Path("runs") / study.name))
    known = set() if arguments.fresh else world.on_root(lambda: from_elsewhere(whole, out))
    plan = whole.only(arguments.only).without(known)
    require_simulations(plan, out, world)
    if arguments.dry_run:
        world.say("\n".join([*described(plan, out, world, arguments.measure), *told(known)]))
        return 0
    world.on_root(lambda: record(whole, out, source, arguments.resume))
    tables = partial(write_now_and_then, whole, out)
    here = Run(plan, study, out, world, part, arguments.fresh, tables)
    here.do([kind for kind in KINDS[:-1] if do in (None, kind)])
    if do in (None, "tables"):
        world.say(world.on_root(lambda: written(whole, out)))
    return ended(here, out)


def told(known: Collection[str]) -> list[str]:
    """A line on cells that are in tables from elsewhere, if there are any."""
    return [f"  {len(known)} more cells are in cases/*.csv, and not done again"] if known else []


def ended(here: Run, out: Path) -> int:
    """Tell what failed; gives the exit status. Collective. StoppedEarly where that was asked."""
    status, lines = here.endings.failed()
    if here.world.is_root:
        for line in lines:
            print(f"eddyscope: {line}", file=sys.stderr, flush=True)
    if here.endings.stopped:
        here.world.on_root(lambda: (out / "STOP").unlink(missing_ok=True))
        raise known_to_all(
            here.world.comm, StoppedEarly(f"{here.endings.stopped}; call again to go on")
        )
    if left := here.endings.left:
        here.world.say(f"study: {len(left)} left to another program: {shortened(left, 3)}")
    if lines:
        here.world.say(f"study: {len(lines)} failed, see above; what is complete is kept")
    return status
