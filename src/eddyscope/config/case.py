"""TOML case files: reading, `extends`, overrides, validation.

This module holds the machinery only. Each room declares its own settings as a
`Section` beside the code that uses them; `stages/case.py` puts them together.
"""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Sequence
from functools import reduce
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from eddyscope.config.errors import CaseError
from eddyscope.config.explain import explain
from eddyscope.config.files import require_file

__all__ = ["Section", "load", "read_toml"]

LARGEST_FILE = 2**20
"""Bytes of a case file; what is larger is none."""

LONGEST_CHAIN = 20
"""Files that may extend one another."""

DEEPEST = 20
"""Tables and lists inside one another; settings need six."""

SMALLEST, LARGEST = 1e-30, 1e30
"""Sizes of real numbers whose squares and products double precision still holds."""


class Section(BaseModel):
    """Base of all settings: frozen, strict about types, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=False,
    )


S = TypeVar("S", bound=Section)


def load(path: str | Path, schema: type[S], overrides: Sequence[str] = ()) -> S:
    """Read `path`, apply `overrides` ("section.key=value") and validate against `schema`.

    Files that the case names (`config.files.FileName`) are relative to its folder. Raises
    CaseError. Not collective: call it on one rank and broadcast, or inside `agree`.
    """
    path = Path(path)
    tree = read_toml(path)
    for override in overrides:
        apply_override(tree, override)
    check_tree(tree, path)
    try:
        return schema.model_validate(tree, context={"folder": path.parent})
    except ValidationError as error:
        raise CaseError(f"{path}: {explain(error, schema, tree)}") from None
    except CaseError as error:  # of what a section builds to check itself
        raise CaseError(f"{path}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tree of a TOML file, laid over the file that its `extends` names, and so on."""
    layers: list[dict[str, Any]] = []
    chain: list[Path] = []
    while True:
        chain.append(path)
        _check_chain(chain)
        tree = _parse(path)
        check_tree(tree, path)
        parent = tree.pop("extends", None)
        layers.append(tree)
        if parent is None:
            return reduce(merge, reversed(layers))
        if not isinstance(parent, str):
            raise CaseError(
                f'{path}: extends = {parent!r}; give one file name, as in extends = "a.toml"'
            )
        path = path.parent / parent


def _check_chain(chain: Sequence[Path]) -> None:
    """CaseError if the last of the files is among the others, or they are too many."""
    *before, path = chain
    if os.path.realpath(path) in map(os.path.realpath, before):
        names = " -> ".join(p.name for p in chain)
        raise CaseError(f"{path}: `extends` goes in a circle ({names}); remove one of the links")
    if len(chain) > LONGEST_CHAIN:
        raise CaseError(
            f"{chain[0]}: more than {LONGEST_CHAIN} files extend one another; put some together"
        )


def _parse(path: Path) -> dict[str, Any]:
    """The tree of one TOML file. CaseError if there is none."""
    require_file(path, "case file", "see configs/ for examples", LARGEST_FILE)
    try:
        # A byte-order mark, as some editors write, is no part of the text.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CaseError(f"{path}: cannot be read as a case file ({reason})") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise CaseError(f"{path}: {_TOO_DEEP}") from None
    except ValueError as error:  # of the syntax, and of numbers with thousands of digits
        raise CaseError(f"{path}: not valid TOML: {error}") from None


_TOO_DEEP = f"tables or lists are nested more than {DEEPEST} deep; settings need no such depth"


def check_tree(tree: dict[str, Any], path: Path) -> None:
    """CaseError for a tree that is too deep, or holds what no setting can be."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    while waiting:
        keys, value = waiting.pop()
        if len(keys) > DEEPEST:
            raise CaseError(f"{path}: {_TOO_DEEP}")
        if isinstance(value, dict):
            waiting += [((*keys, key), entry) for key, entry in value.items()]
        elif isinstance(value, list):
            waiting += [((*keys, str(i)), entry) for i, entry in enumerate(value)]
        elif isinstance(value, int) and value.bit_length() > 63:
            raise CaseError(f"{path}: {'.'.join(keys)}: a whole number of more than 64 bits")
        elif isinstance(value, float) and value and abs(value) < SMALLEST:
            raise CaseError(
                f"{path}: {'.'.join(keys)} = {value!r}: too close to zero to compute with; give 0, "
                f"or at least {SMALLEST:g}"
            )
        elif isinstance(value, float) and LARGEST < abs(value) < inf:
            raise CaseError(
                f"{path}: {'.'.join(keys)} = {value!r}: too large to compute with; at most "
                f"{LARGEST:g}"
            )
        elif isinstance(value, str) and "\0" in value:
            raise CaseError(f"{path}: {'.'.join(keys)} = {value!r}: has a NUL character")


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, table by table; a table that names another `kind` replaces."""
    if "kind" in above and "kind" in below and above["kind"] != below["kind"]:
        return copy.deepcopy(above)
    result = dict(below)
    for key, value in above.items():
        old = below.get(key)
        both_tables = isinstance(value, dict) and isinstance(old, dict)
        result[key] = merge(old, value) if both_tables else value  # type: ignore[arg-type]
    return result


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key of `tree` from text such as `grid.n=256`; the value is read as TOML."""
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise CaseError(
            f"override {override!r} is not of the form section.key=value, as in grid.n=256"
        )
    table = tree
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise CaseError(f"override {override!r}: {part} is a value, not a section")
    table[parts[-1]] = _value(text, override)


def _value(text: str, override: str) -> Any:
    """The text right of an override's equals sign, as TOML or as a bare word."""
    try:
        found = tomllib.loads(f"value = {text}")
    except RecursionError:
        raise CaseError(f"override {override[:40]}…: {_TOO_DEEP}") from None
    except tomllib.TOMLDecodeError:
        return text.strip()  # a bare word, so that `time.scheme=ab2cn` needs no quotes
    except ValueError as error:
        raise CaseError(f"override {override[:40]}…: {error}") from None
    if len(found) > 1:
        raise CaseError(f"override {override!r} has more than one value; give one a word")
    return found["value"]
