"""`eddyscope example [NAME]`: case files that come with the program, to begin with."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.parallel.world import World
from eddyscope.storage.atomic import write_atomically

__all__ = ["run"]

EXTENDS = re.compile(r'^extends = "([^"]+)\.toml"', re.MULTILINE)


def run(name: str | None, world: World) -> None:
    """Write the example `name` here, or say which there are. Collective.

    CaseError where there is none such, or a file of that name is here already.
    """
    words = world.on_root(lambda: listed() if name is None else written(name, Path.cwd()))
    world.say(words)


def listed() -> str:
    """The examples, a line each, in the words that they begin with."""
    shelf = _shelf()
    width = max(map(len, shelf))
    lines = [f"  {name:{width}}  {_first_words(shelf[name])}" for name in sorted(shelf)]
    return "\n".join(["eddyscope example NAME writes one of these here:", *lines])


def written(name: str, folder: Path) -> str:
    """Write an example, with the files that it needs. CaseError, see `run`. Not collective."""
    shelf = _shelf()
    name = name.removesuffix(".toml")
    if name not in shelf:
        hint = did_you_mean(name, shelf)
        raise CaseError(
            f"no example named {name!r}; {hint + ' ' if hint else ''}examples: "
            f"{', '.join(sorted(shelf))}"
        )
    # What it extends may be here from that example's own run, perhaps changed: it stays.
    needed = _with_needs(name)
    own = [entry for entry in needed if entry.name.split(".")[0] == name]
    wanted = own + [
        entry for entry in needed if not (entry in own or (folder / entry.name).exists())
    ]
    there = [entry.name for entry in wanted if (folder / entry.name).exists()]
    if there:
        raise CaseError(
            f"{there[0]} is here already and stays as it is; move it away, or go to another folder"
        )
    for entry in wanted:
        write_atomically(folder / entry.name, entry.read_bytes())
    names = ", ".join(entry.name for entry in wanted)
    return f"wrote {names}; next: eddyscope run {name}.toml --dry-run"


def _folder() -> Traversable:
    return files("eddyscope") / "examples"


def _shelf() -> dict[str, str]:
    """Name -> text of each case file."""
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in _folder().iterdir()
        if entry.name.endswith(".toml")
    }


def _with_needs(name: str) -> list[Traversable]:
    """The case file, those that it extends, and what is called like them."""
    shelf, names = _shelf(), [name]
    while found := EXTENDS.search(shelf[names[-1]]):
        names.append(found.group(1))
    entries = [entry for entry in _folder().iterdir() if entry.is_file()]
    return [entry for stem in names for entry in entries if entry.name.split(".")[0] == stem]


def _first_words(text: str) -> str:
    """The first sentence of the comment that a case file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).split(". ")[0].rstrip(".:")
