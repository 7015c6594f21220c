"""The command line: `mpirun -n P eddyscope STAGE CASE.toml …`. All ranks parse, rank 0 speaks."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from eddyscope.config.errors import CaseError

STAGES = {
    "dns": "simulate the base and target ensembles and filter them into datasets",
    "train": "train the base network",
    "advise": "rank the layers before any re-training, from a few target samples",
    "transfer": "re-train each layer, and the controls, on a few target samples",
    "evaluate": "offline metrics of every model on both systems, and a score card of the advice",
    "les": "run closures back in large-eddy simulation",
    "analyze": "spectra of kernels and activations",
    "report": "one self-contained page, with its pictures",
}
"""In the order in which `run` goes through them."""

EXIT_STATUSES = """\
exit status:
  0  done
  1  failed (a traceback tells where)
  2  bad input (one line tells what, and the way out; nothing was overwritten)
  3  blew up: the solution is no longer finite
  4  stopped early with a checkpoint: call again to go on
"""

EXAMPLES = """\
examples:
  mpirun -n 2 eddyscope run configs/quickstart.toml
  mpirun -n 64 eddyscope dns case.toml --system base --out /scratch/case
  eddyscope run case.toml --dry-run grid.n=512 time.dt=1e-3
  mpirun -n 64 eddyscope dns case.toml --dry-run --measure
"""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are CaseErrors, so that they are printed once."""

    def error(self, message: str) -> NoReturn:
        raise CaseError(f"{message}; see `{self.prog} --help`")

    def print_help(self, file: Any = None) -> None:
        from eddyscope.parallel.world import World

        if World.launched().is_root:
            super().print_help(file)


def build_parser() -> Parser:
    parser = Parser(
        prog="eddyscope",
        description="From 2D turbulence to an explained, ranked set of layers to re-train.",
        epilog=EXAMPLES + "\n" + EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    for name, text in {"run": "all stages in order, skipping what is done", **STAGES}.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=EXIT_STATUSES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_case_arguments(command)
        if name in ("run", "dns"):
            command.add_argument(
                "--system",
                choices=("base", "target", "both"),
                default="both",
                help="which system to simulate (default: both)",
            )
            command.add_argument(
                "--measure",
                action="store_true",
                help="with --dry-run: time a few steps and a sample, and predict the run's time",
            )
    commands.add_parser("doctor", help="is this machine set up right?")
    info = commands.add_parser("info", help="what is in this artefact?")
    info.add_argument("file", metavar="FILE", type=Path)
    return parser


def _add_case_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("case", metavar="CASE.toml", type=Path, help="the case file")
    command.add_argument(
        "overrides",
        metavar="section.key=value",
        nargs="*",
        default=[],
        help="settings that replace those of the case file, as in grid.n=256",
    )
    command.add_argument(
        "--out", metavar="DIR", type=Path, help="output folder (default: runs/<case name>)"
    )
    again = command.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="insist on going on with what is there"
    )
    again.add_argument(
        "--fresh", action="store_true", help="discard what this stage made before, and redo it"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="check the case, say what would be done and what it costs, start nothing",
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's arguments. CaseError with the nearest stage if it is misspelt."""
    known = ["run", *STAGES, "doctor", "info"]
    if argv and not argv[0].startswith("-") and argv[0] not in known:
        near = difflib.get_close_matches(argv[0], known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise CaseError(f"no stage named {argv[0]!r}; {hint}stages: {', '.join(known)}")
    # Overrides may stand before or after options: argparse alone takes only one run of them.
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if getattr(arguments, "measure", False) and not arguments.dry_run:
        parser.error("--measure is for --dry-run: give both")
    for word in rest:
        if word.startswith("-") or "=" not in word or not hasattr(arguments, "overrides"):
            parser.error(f"unknown argument {word!r}")
        arguments.overrides = [*arguments.overrides, word]
    return arguments


def dispatch(argv: Sequence[str]) -> int:
    """Do what the command line says; gives the exit status. Collective."""
    from eddyscope.parallel.world import World

    arguments = parse(argv)
    world = World.launched()
    if arguments.stage == "doctor":
        status: int = importlib.import_module("eddyscope.stages.doctor").run(world)
        return status
    if arguments.stage == "info":
        importlib.import_module("eddyscope.stages.info").run(arguments.file, world)
        return 0
    from eddyscope.stages.case import SYSTEMS, load_case
    from eddyscope.stages.job import Job

    case = world.on_root(lambda: load_case(arguments.case, arguments.overrides))
    system = getattr(arguments, "system", "both")
    job = Job(
        case=case,
        world=world,
        out=(arguments.out or Path("runs") / case.name).absolute(),
        systems=SYSTEMS if system == "both" else (system,),
        resume=arguments.resume,
        fresh=arguments.fresh,
        measure=getattr(arguments, "measure", False),
    )
    names = list(STAGES) if arguments.stage == "run" else [arguments.stage]
    stages = [importlib.import_module(f"eddyscope.stages.{name}") for name in names]
    plans = [stage.plan(job) for stage in stages]
    if arguments.dry_run:
        for name, lines in zip(names, plans, strict=True):
            world.say(f"{name}:")
            for line in lines:
                world.say(f"  {line}")
        return 0
    for stage in stages:
        stage.run(job)
    return 0


def main() -> NoReturn:
    """Entry point of the `eddyscope` command."""
    from eddyscope.parallel.failure import guard

    sys.exit(guard(lambda: dispatch(sys.argv[1:])))


if __name__ == "__main__":
    main()
