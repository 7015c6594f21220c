"""The command line: `mpirun -n P eddyscope STAGE CASE.toml …`. All ranks parse, rank 0 speaks."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.config.provenance import code_version
from eddyscope.parallel.failure import agree, guard
from eddyscope.parallel.output import flush, write
from eddyscope.parallel.world import World
from eddyscope.stages import example, settings, study
from eddyscope.stages.case import SYSTEMS, load_case
from eddyscope.stages.job import Job
from eddyscope.stages.stage import STAGES, Stage, load_stages, plan_all, stages_of_run

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

RUN = "all stages in order, skipping what is done"
"""What `run` does."""

TOOLS = {
    "study": "many cases and axes, sharing simulations and base models, to one table and page",
    "import": "make a dataset of your own arrays: HDF5, NetCDF, .npy, .npz, .mat",
    "doctor": "is this machine set up right?",
    "info": "what is in this artefact?",
    "settings": "every setting of a case file, with default, unit and meaning",
    "example": "case files to begin with",
}
"""Commands that are no stages, and what they are for."""

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
  eddyscope example quickstart; eddyscope settings time
"""


LONGEST_NAME = 255
"""Bytes of the name of a file or folder, on all file systems in use."""

LONGEST_PATH = 4096 - 256
"""Bytes of the output folder's path: Linux takes 4096 of a file's."""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are CaseErrors, so that they are printed once."""

    def error(self, message: str) -> NoReturn:
        raise CaseError(f"{message}; see `{self.prog} --help`")

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        if World.launched().is_root:
            write(self.format_help(), end="")


def build_parser(names: Sequence[str]) -> Parser:
    """The parser that knows these commands: stages, `run` and tools."""
    parser = Parser(
        prog="eddyscope",
        description="From 2D turbulence to an explained, ranked set of layers to re-train.",
        epilog=EXAMPLES + "\n" + EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    for name in names:
        if name == "import":
            _add_import(commands, alone=len(names) == 1)
        elif name == "study":
            _add_study(commands)
        elif name in TOOLS:
            tool = commands.add_parser(name, help=TOOLS[name], description=TOOLS[name])
            _add_tool_arguments(name, tool)
        else:
            summary = RUN if name == "run" else load_stages([name])[0].summary
            command = commands.add_parser(
                name,
                help=summary,
                description=summary,
                epilog=EXIT_STATUSES,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            _add_case_arguments(command)
            if name in ("run", "dns"):
                _add_simulation_arguments(command)
    return parser


def _add_import(commands: argparse._SubParsersAction[Parser], alone: bool) -> None:
    """alone: whether this command is called for, so that its arguments are wanted."""
    if not alone:
        commands.add_parser("import", help=TOOLS["import"])
        return
    from eddyscope.stages import importing  # imports h5py

    command = commands.add_parser(
        "import",
        help=TOOLS["import"],
        description=TOOLS["import"],
        epilog=importing.EXAMPLES + "\n" + EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    importing.add_arguments(command)


def _add_study(commands: argparse._SubParsersAction[Parser]) -> None:
    command = commands.add_parser(
        "study",
        help=TOOLS["study"],
        description=TOOLS["study"],
        epilog=study.EXAMPLES + "\n" + EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    study.add_arguments(command, _folder)


def _add_tool_arguments(name: str, tool: argparse.ArgumentParser) -> None:
    if name == "info":
        tool.add_argument("file", metavar="FILE", type=Path)
    elif name == "settings":
        words = "a section or a setting, as in base.flow.forcing or grid.n (default: all)"
        tool.add_argument("section", metavar="SECTION", nargs="?", help=words)
        tool.add_argument("--markdown", action="store_true", help="as a page")
    elif name == "example":
        words = "which one to write here (default: say which there are)"
        tool.add_argument("name", metavar="NAME", nargs="?", help=words)


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the folder's name is empty; leave --out out, or name one")
    return Path(text)


def _add_simulation_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--system",
        choices=(*SYSTEMS, "both"),
        default="both",
        help="which system to simulate (default: both)",
    )
    command.add_argument(
        "--measure",
        action="store_true",
        help="with --dry-run: time a few steps and a sample, and predict the run's time",
    )


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
        "--out", metavar="DIR", type=_folder, help="output folder (default: runs/<case name>)"
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
    known = ["run", *STAGES, *TOOLS]
    for word in argv:
        if "\0" in word or not _is_text(word):
            raise CaseError(f"argument {word!r}: not UTF-8 text; choose another name")
    if argv and not argv[0].startswith("-") and argv[0] not in known:
        hint = did_you_mean(argv[0], known)
        raise CaseError(
            f"no stage named {argv[0]!r}; {hint + ' ' if hint else ''}stages: {', '.join(known)}"
        )
    # Only the stages that are called for are imported.
    parser = build_parser([argv[0]] if argv and argv[0] in known else known)
    # Overrides may stand before or after options: argparse alone takes only one run of them.
    arguments, rest = parser.parse_known_args(argv)
    if getattr(arguments, "measure", False) and not arguments.dry_run:
        parser.error("--measure is for --dry-run: give both")
    for word in rest:
        if word.startswith("-") or "=" not in word or not hasattr(arguments, "overrides"):
            hint = did_you_mean(word, _options(arguments))
            parser.error(f"unknown argument {word!r}" + (f"; {hint}" if hint else ""))
        arguments.overrides = [*arguments.overrides, word]
    return arguments


def _options(arguments: argparse.Namespace) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in vars(arguments)]


def _is_text(word: str) -> bool:
    """Whether it can be written as UTF-8; bytes of another encoding cannot."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def dispatch(argv: Sequence[str]) -> int:
    """Do what the command line says; gives the exit status. Collective."""
    world = World.launched()
    if list(argv) == ["--version"]:
        world.say(f"eddyscope {world.on_root(code_version)}")
        return 0
    arguments = agree(world.comm, lambda: parse(argv))
    if arguments.stage in TOOLS:
        return use_tool(arguments, argv, world)
    job = make_job(arguments, world)
    whole = arguments.stage == "run"
    perform(stages_of_run(job) if whole else load_stages([arguments.stage]), job, arguments.dry_run)
    return 0


def use_tool(arguments: argparse.Namespace, argv: Sequence[str], world: World) -> int:
    """Do what a command that is no stage is for; gives the exit status. Collective."""
    if arguments.stage == "doctor":
        from eddyscope.stages import doctor  # imports torch

        return doctor.run(world)
    if arguments.stage == "info":
        from eddyscope.stages import info  # imports h5py

        info.run(arguments.file, world)
    elif arguments.stage == "import":
        from eddyscope.stages import importing  # imports h5py

        importing.run(arguments, argv, world)
    elif arguments.stage == "study":
        return study.run(arguments, output_folder, world)
    elif arguments.stage == "settings":
        settings.run(arguments.section, arguments.markdown, world)
    elif arguments.stage == "example":
        example.run(arguments.name, world)
    return 0


def make_job(arguments: argparse.Namespace, world: World) -> Job:
    """What the stages are given. Collective; CaseError for a case that cannot be read."""
    case = world.on_root(lambda: load_case(arguments.case, arguments.overrides))
    # A user's network is imported here, on all ranks: whatever is wrong with it is told at once.
    agree(world.comm, lambda: case.layer_names)
    system = getattr(arguments, "system", "both")
    return Job(
        case=case,
        world=world,
        out=world.on_root(lambda: output_folder(arguments.out or Path("runs") / case.name)),
        systems=SYSTEMS if system == "both" else (system,),
        resume=arguments.resume,
        fresh=arguments.fresh,
        measure=getattr(arguments, "measure", False),
    )


def output_folder(given: Path) -> Path:
    """The absolute name of the folder for artefacts, which need not be there. Not collective.

    CaseError where it could never be made.
    """
    try:
        out = given.absolute()
        problem = _obstacle(out)
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise CaseError(f"{given}: cannot write here ({problem}); choose another folder with --out")
    return out


def _obstacle(out: Path) -> str:
    """Why a folder could never be made; nothing if it could. Raises OSError."""
    longest = max(len(os.fsencode(part)) for part in out.parts)
    if longest > LONGEST_NAME or len(os.fsencode(out)) > LONGEST_PATH:
        return "the name is too long"
    with suppress(FileNotFoundError):  # it will be made
        if not stat.S_ISDIR(os.stat(out).st_mode):
            return "it is not a folder"
    return ""


def perform(stages: Sequence[Stage], job: Job, dry: bool) -> None:
    """Plan all stages, then show the plans, or run the stages. Collective."""
    plans = plan_all(stages, job)
    for stage, lines in zip(stages, plans, strict=True):
        if dry:
            job.world.say("\n".join([f"{stage.name}:", *(f"  {line}" for line in lines)]))
        else:
            stage.run(job)


def main() -> NoReturn:
    """Entry point of the `eddyscope` command."""
    status = guard(lambda: dispatch(sys.argv[1:]))
    flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
