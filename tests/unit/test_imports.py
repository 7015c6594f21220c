"""The plan of the house, held by a test: who may import what, and nothing happens at import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import eddyscope
from eddyscope.config.registry import Registry

SOURCE = Path(eddyscope.__file__).parent

ROOMS = {
    "config": set(),
    "parallel": set(),
    "storage": set(),
    "spectral": set(),
    "flows": {"storage", "spectral", "artefacts"},
    "solver": {"storage", "spectral", "flows"},
    "filtering": {"spectral", "flows"},
    "networks": set(),
    "artefacts": {"storage", "spectral", "networks"},
    "learning": {"storage", "spectral", "networks", "artefacts"},
    "closures": {"flows", "spectral", "solver", "learning", "networks", "artefacts"},
    "analysis": {"storage", "spectral", "networks", "artefacts", "learning"},
    "advisor": {"networks", "artefacts", "learning", "analysis"},
    "study": {"storage", "artefacts", "learning"},
    "report": {"storage", "artefacts"},
    "api": {
        "storage", "spectral", "flows", "solver", "filtering", "networks", "artefacts", "learning",
        "closures", "analysis", "advisor",
    },
    "stages": {
        "storage", "spectral", "flows", "solver", "filtering", "networks", "artefacts", "learning",
        "closures", "analysis", "advisor", "study", "report",
    },
}  # fmt: skip
"""Room -> rooms it may import, besides itself, `config` and `parallel` (config: itself only)."""

LIBRARIES = {
    "mpi4py": ("parallel/", "storage/"),
    "h5py": ("storage/",),
    "mpi4py_fft": ("spectral/backends/",),
    "torch": ("networks/", "learning/", "analysis/", "advisor/", "api/",
              "parallel/torch_group.py", "storage/probe.py",
              "spectral/backends/torch.py", "spectral/kernels/tensors.py",
              "spectral/kernels/casts.py"),
}  # fmt: skip
"""Library -> where it may be imported: folders end in a slash, files do not."""

COMM_WORLD = ("parallel/world.py", "parallel/failure.py")
"""The only modules that may name MPI.COMM_WORLD: everyone else is given a communicator."""

AT_IMPORT = ("print", "open", "input", "MPI.", "World.", "np.random.", "random.",
             "torch.manual_seed", "torch.set_", "os.", "Path.cwd", "subprocess.")  # fmt: skip
"""Calls that must not happen at import: output, files, communicators, random state, set-up."""


HEAVY = ("torch", "matplotlib", "xarray", "numba", "h5py", "mpi4py_fft", "jinja2")
"""Libraries that take long to import, so that a function may import them when it is called."""

NOT_FOR_A_PLAN = {"mpi4py_fft", "matplotlib", "xarray", "pandas", "numba", "scipy"}
"""Libraries that planning does not import: all ranks do it before they do anything."""

PLANS = """
import sys
from eddyscope.__main__ import dispatch
from eddyscope.config.errors import CaseError
for command in sys.argv[1:]:
    try:
        dispatch(command.split())
    except (CaseError, SystemExit):
        pass
    print("imported:", *sys.modules)
"""
"""Does commands of the command line, and says after each what has been imported."""

LONGEST_FUNCTION = 60
"""Lines of a function, its docstring included."""

LONGEST_STAGE = 130
"""Lines of a module under stages/, which only wires rooms together."""

USES_OF_ANY = 127
"""Uses of `Any` in the source; they may only become fewer."""


@cache
def modules() -> dict[str, ast.Module]:
    """Path inside the package -> its syntax tree."""
    return {
        str(path.relative_to(SOURCE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def imported(path: str, tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Dotted name and line of everything a module imports, inside functions too."""
    package = ["eddyscope", *Path(path).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}", node.lineno


def dotted(path: str) -> str:
    """The dotted name of a module, from its path inside the package."""
    return ".".join(["eddyscope", *Path(path).with_suffix("").parts]).removesuffix(".__init__")


def for_types_only(tree: ast.AST) -> set[int]:
    """Lines under `if TYPE_CHECKING:`, which never run."""
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    return {line for block in blocks for line in range(block.lineno, block.end_lineno or 0)}


@cache
def graph() -> dict[str, set[str]]:
    """Module -> modules of this package that it imports when it, or a function in it, runs."""
    known = {dotted(path) for path in modules()}
    found: dict[str, set[str]] = {}
    for path, tree in modules().items():
        never = for_types_only(tree)
        names = {name for name, line in imported(path, tree) if line not in never}
        targets = {name if name in known else name.rpartition(".")[0] for name in names}
        found[dotted(path)] = targets & known
    return found


def cycle_from(start: str) -> list[str]:
    """A way from a module back to itself along imports; empty if there is none."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop()
        for target in sorted(graph()[way[-1]]):
            if target == start:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


@cache
def at_once(path: str) -> set[str]:
    """What a module imports when it is imported itself."""
    tree = modules()[path]
    later = for_types_only(tree) | inside_functions(tree)
    return {name for name, line in imported(path, tree) if line not in later}


def inside_functions(tree: ast.AST) -> set[int]:
    """Lines of functions."""
    return {n for f in functions(tree) for n in range(f.lineno, (f.end_lineno or 0) + 1)}


@cache
def libraries_below(start: str) -> set[str]:
    """Libraries that importing a module brings in at once, by way of others too."""
    paths = {dotted(path): path for path in modules()}
    found, waiting, seen = set(), [start], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for target in at_once(paths[name]):
            found.add(target.split(".")[0])
            waiting += [m for m in (target, target.rpartition(".")[0]) if m in paths]
    return found


def functions(tree: ast.AST) -> Iterable[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions and methods, inner ones too."""
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def room_of(name: str) -> str | None:
    """The room that a dotted name of this package is in."""
    parts = name.split(".")
    return parts[1] if parts[0] == "eddyscope" and len(parts) > 1 and parts[1] in ROOMS else None


def test_every_folder_is_a_room_of_the_plan():
    folders = {p.name for p in SOURCE.iterdir() if (p / "__init__.py").is_file()}
    unknown = folders - ROOMS.keys()
    assert not unknown, f"{unknown} is not in ROOMS: give the new room its line in the table"


def test_rooms_import_only_what_the_plan_allows():
    wrong = []
    for path, tree in modules().items():
        room = path.split("/")[0]
        if room not in ROOMS:
            continue  # __main__.py wires stages
        allowed = ROOMS[room] | {room} | ({"config", "parallel"} if room != "config" else set())
        for name, line in imported(path, tree):
            target = room_of(name)
            if target is not None and target not in allowed:
                wrong.append(f"{path}:{line} imports {name}, but {room}/ may not import {target}/")
    assert not wrong, "\n".join(
        [*wrong, "Move the code to a room that may, or hand the object in as an argument."]
    )


def test_stages_hand_over_files_and_never_call_each_other():
    shared = {"case", "cells", "dns_cost", "ensemble", "files", "job", "les_target", "named",
              "normalise", "outlook", "owner", "perform", "review", "stage", "step", "study_cost",
              "study_endings", "study_job", "study_run", "study_tables", "system",
              "work"}  # fmt: skip
    """What all stages are made of."""
    wrong = []
    for path, tree in modules().items():
        for name, line in imported(path, tree):
            parts = name.split(".")
            if parts[:2] == ["eddyscope", "stages"] and path.startswith("stages/"):
                other = parts[2] if len(parts) > 2 else ""
                if other not in shared and path != "stages/__init__.py":
                    wrong.append(f"{path}:{line} imports {name}")
    assert not wrong, "\n".join(
        [*wrong, "Put what they share into a library room, or write a file."]
    )


def test_libraries_are_imported_only_where_the_plan_allows():
    wrong = []
    for path, tree in modules().items():
        for name, line in imported(path, tree):
            places = LIBRARIES.get(name.split(".")[0])
            if places and not any(
                path == p or (p[-1] == "/" and path.startswith(p)) for p in places
            ):
                wrong.append(f"{path}:{line} imports {name}; only {', '.join(places)} may")
    assert not wrong, "\n".join([*wrong, "Use what those rooms offer, or add a verb to them."])


def test_settings_need_no_torch():
    """Case files are validated on every rank at start-up, before anyone needs torch."""
    wrong = []
    for path, tree in modules().items():
        if Path(path).name not in ("settings.py", "__init__.py"):
            continue
        for name, line in imported(path, tree):
            if name.split(".")[0] in ("torch", "scipy", "matplotlib"):
                wrong.append(f"{path}:{line} imports {name}")
    assert not wrong, "\n".join([*wrong, "Import it in the module that uses it."])


def test_comm_world_is_named_in_one_place():
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "COMM_WORLD" and path not in COMM_WORLD
    ]
    assert not wrong, f"COMM_WORLD in {', '.join(wrong)}: take a World or a communicator instead"


def evaluated_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below `node` that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            outside = [*child.args.defaults, *(d for d in child.args.kw_defaults if d)]
            outside += getattr(child, "decorator_list", [])
            for part in outside:
                yield part
                yield from evaluated_at_import(part)
        elif not (isinstance(child, ast.If) and "__name__" in ast.dump(child.test)):
            yield child
            yield from evaluated_at_import(child)


def test_nothing_happens_at_import():
    wrong = []
    for path, tree in modules().items():
        for node in evaluated_at_import(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if any(
                name == call or (call[-1] in "._" and name.startswith(call)) for call in AT_IMPORT
            ):
                wrong.append(f"{path}:{node.lineno} calls {name}(…) at import")
    assert not wrong, "\n".join([*wrong, "Move it into a function that the caller runs."])


# --- Cycles, lazy imports ------------------------------------------------------------------


def test_no_import_goes_in_a_circle():
    """Imports inside functions count; those for type checkers alone do not."""
    cycles = {tuple(sorted(set(way))): way for name in graph() if (way := cycle_from(name))}
    assert not cycles, "\n".join(
        [*(" -> ".join(way) for way in cycles.values()), "Move what both need into a third module."]
    )


def test_imports_inside_functions_are_of_heavy_libraries():
    wrong = []
    for path, tree in modules().items():
        lines = inside_functions(tree)
        for name, line in imported(path, tree):
            if line not in lines or name.split(".")[0] in HEAVY:
                continue
            target = name if name in graph() else name.rpartition(".")[0]
            if target in graph() and libraries_below(target) & set(HEAVY):
                continue
            wrong.append(f"{path}:{line} imports {name} inside a function")
    assert not wrong, "\n".join([*wrong, "Import it at the top."])


def test_planning_imports_no_heavy_library(tmp_path):
    case = SOURCE / "examples" / "quickstart.toml"
    commands = (
        "--help",
        "settings",
        f"dns {case} grid.m=1",
        f"dns {case} --dry-run --out {tmp_path}",
        f"run {case} --dry-run --out {tmp_path}",
    )
    called = [sys.executable, "-c", PLANS, *commands]
    ended = subprocess.run(called, check=True, capture_output=True, text=True)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("imported:")]
    for command, line in zip(commands, lines, strict=True):
        without = NOT_FOR_A_PLAN if command.startswith("run") else {*NOT_FOR_A_PLAN, "torch"}
        heavy = without & set(line.split())
        assert not heavy, f"{command} imports {heavy}: import it inside the function that uses it"
    assert "\ntrain:\n" in ended.stdout  # the last one did plan


# --- Sizes ---------------------------------------------------------------------------------


def test_functions_are_short():
    long = [
        f"{path}:{function.lineno} {function.name} has {lines} lines"
        for path, tree in modules().items()
        for function in functions(tree)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long, "\n".join([*long, f"A function has at most {LONGEST_FUNCTION} lines."])


def test_stages_are_thin():
    lengths = {
        path.stem: len(path.read_text(encoding="utf-8").splitlines())
        for path in (SOURCE / "stages").glob("*.py")
    }
    del lengths["perform"]  # what is common to all steps, so that no stage has it
    del lengths["case"]  # one line for each section of a case file
    long = {n: c for n, c in lengths.items() if c > LONGEST_STAGE}
    assert not long, f"{long} lines: move what computes into a library room"


def test_any_is_used_less_and_less():
    uses = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for tree in modules().values()
        for node in ast.walk(tree)
    )
    assert uses <= USES_OF_ANY, "name the type (config/arrays.py, Comm, a Protocol) instead of Any"


# --- Registries ----------------------------------------------------------------------------


def registries() -> dict[str, set[str]]:
    """Name of each table of the source -> the names in it."""
    found = {}
    for path, tree in modules().items():
        if any(
            isinstance(n, ast.Call) and ast.unparse(n.func) == "Registry" for n in ast.walk(tree)
        ):
            module = importlib.import_module(dotted(path))
            tables = {k: v for k, v in vars(module).items() if isinstance(v, Registry)}
            found |= {name: set(table) for name, table in tables.items()}
    return found


def test_no_list_of_words_repeats_a_registry():
    """A choice of a section is an annotated `Choice`: a Literal would miss new entries."""
    tables = registries()
    assert tables
    wrong = []
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"):
                continue
            words = {str(n.value) for n in ast.walk(node.slice) if isinstance(n, ast.Constant)}
            wrong += [
                f"{path}:{node.lineno} repeats names of {name}: {', '.join(sorted(words))}"
                for name, names in tables.items()
                if len(words) > 1 and words <= names
            ]
    assert not wrong, "\n".join([*wrong, "Use `Annotated[Any, Choice(REGISTRY)]`."])
