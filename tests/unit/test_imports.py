"""The plan of the house, held by a test: who may import what, and nothing happens at import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import eddyscope

SOURCE = Path(eddyscope.__file__).parent

ROOMS = {
    "config": set(),
    "parallel": set(),
    "storage": set(),
    "spectral": set(),
    "flows": {"storage", "spectral"},
    "solver": {"storage", "spectral", "flows"},
    "filtering": {"spectral", "flows"},
    "networks": set(),
    "artefacts": {"storage", "spectral", "networks"},
    "learning": {"storage", "spectral", "networks", "artefacts"},
    "closures": {"spectral", "solver", "learning", "networks", "artefacts"},
    "analysis": {"storage", "spectral", "networks", "artefacts", "learning"},
    "advisor": {"networks", "artefacts", "learning", "analysis"},
    "report": {"storage", "artefacts"},
    "stages": {
        "storage", "spectral", "flows", "solver", "filtering", "networks", "artefacts", "learning",
        "closures", "analysis", "advisor", "report",
    },
}  # fmt: skip
"""Room -> rooms it may import, besides itself, `config` and `parallel` (config: itself only)."""

LIBRARIES = {
    "mpi4py": ("parallel/", "storage/"),
    "h5py": ("storage/",),
    "mpi4py_fft": ("spectral/backends/",),
    "torch": ("networks/", "learning/", "closures/learned.py", "analysis/", "advisor/",
              "parallel/torch_group.py", "storage/probe.py", "artefacts/model.py",
              "artefacts/normalisation.py"),
}  # fmt: skip
"""Library -> where it may be imported: folders end in a slash, files do not."""

COMM_WORLD = ("parallel/world.py", "parallel/failure.py")
"""The only modules that may name MPI.COMM_WORLD: everyone else is given a communicator."""

AT_IMPORT = ("print", "open", "input", "MPI.", "World.", "np.random.", "random.",
             "torch.manual_seed", "torch.set_", "os.", "Path.cwd", "subprocess.")  # fmt: skip
"""Calls that must not happen at import: output, files, communicators, random state, set-up."""


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


def room_of(name: str) -> str | None:
    """The room that a dotted name of this package is in."""
    parts = name.split(".")
    return parts[1] if parts[0] == "eddyscope" and len(parts) > 1 and parts[1] in ROOMS else None


def test_every_folder_is_a_room_of_the_plan():
    folders = {p.name for p in SOURCE.iterdir() if p.is_dir() and not p.name.startswith("__")}
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
    shared = {"case", "job", "review", "stage", "step"}
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
