"""TOML case files: reading, `extends`, overrides, validation.

This module holds the machinery only. Each room declares its own settings as a
`Section` beside the code that uses them; `stages/case.py` puts them together.
"""

from __future__ import annotations

import copy
import os
import tomllib
from collections import deque
from collections.abc import Collection, Sequence
from functools import partial, reduce
from math import inf
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from eddyscope.config.errors import CaseError
from eddyscope.config.explain import Fault, explain, model_of
from eddyscope.config.files import require_file
from eddyscope.config.registry import choice_of

__all__ = ["Section", "load"]

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

    ALTERNATIVES: ClassVar[Sequence[tuple[str, str]]] = ()
    """Pairs of settings of which one at most is given: a file laid over another, or an override,
    that gives one takes the place of the other."""


S = TypeVar("S", bound=Section)


def load(
    path: str | Path,
    schema: type[S],
    overrides: Sequence[str] = (),
    origin: str = "command line",
) -> S:
    """Read `path`, apply `overrides` ("section.key=value") and validate against `schema`.

    origin: where the overrides come from, for messages.
    Files that the case names (`config.files.FileName`) are relative to its folder. Raises
    CaseError. Not collective: call it on one rank and broadcast, or inside `agree`.
    """
    path = Path(path)
    files = read_files(path)
    tree = reduce(partial(merge, schema=schema), [file for _, file in files])
    if not tree and not overrides:
        raise CaseError(f"{path}: holds no settings; `eddyscope example` has some that do")
    given = [apply_override(tree, override) for override in overrides]
    free_alternatives(tree, given, schema)
    check_tree(tree, path)
    try:
        return schema.model_validate(tree, context={"folder": path.parent})
    except ValidationError as error:
        faults = explain(error, schema, tree)
    except CaseError as error:  # of what a section builds to check itself
        faults = [Fault((), words) for words in (str(error), *error.more)]
    lines = [f"{_origin(fault.keys, files, given, origin)}: {fault.words}" for fault in faults]
    raise CaseError(lines[0], lines[1:])


Files = Sequence[tuple[Path, dict[str, Any]]]
"""Case files and their trees, each laid over those before it."""


def _origin(
    keys: tuple[str, ...], files: Files, given: Sequence[tuple[str, ...]], origin: str
) -> str:
    """Where a setting was written: `origin` for an override, or the last file that has it."""
    if keys and any(keys[: len(override)] == override for override in given):
        return origin
    main = files[-1][0]
    return str(next((path for path, tree in reversed(files) if _has(tree, keys)), main))


def _has(tree: object, keys: Sequence[str]) -> bool:
    """Whether a file sets a key, or the list that it is in."""
    for key in keys:
        if isinstance(tree, list):
            return True
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def read_files(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A TOML file and its tree, after the file that its `extends` names, and so on."""
    layers: list[tuple[Path, dict[str, Any]]] = []
    chain: list[Path] = []
    while True:
        chain.append(path)
        _check_chain(chain)
        tree = _parse(path)
        check_tree(tree, path)
        parent = tree.pop("extends", None)
        layers.append((path, tree))
        if parent is None:
            return layers[::-1]
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
    require_file(path, "case file", "`eddyscope example` has some", LARGEST_FILE)
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
    waiting: deque[tuple[tuple[str, ...], object]] = deque([((), tree)])
    found: list[str] = []
    while waiting:
        keys, value = waiting.popleft()
        if len(keys) > DEEPEST:
            raise CaseError(f"{path}: {_TOO_DEEP}")
        if isinstance(value, dict):
            waiting += [((*keys, key), entry) for key, entry in value.items()]
        elif isinstance(value, list):
            waiting += [((*keys, str(i)), entry) for i, entry in enumerate(value)]
        elif wrong := _wrong_value(value):
            found.append(f"{path}: {'.'.join(keys)}{wrong}")
    if found:
        raise CaseError(found[0], found[1:])


def _wrong_value(value: object) -> str:
    """What is wrong with a value that no setting can have; nothing if some could."""
    if isinstance(value, int) and value.bit_length() > 63:
        return ": a whole number of more than 64 bits"
    if isinstance(value, float) and value and abs(value) < SMALLEST:
        return f" = {value!r}: too close to zero to compute with; give 0, or at least {SMALLEST:g}"
    if isinstance(value, float) and LARGEST < abs(value) < inf:
        return f" = {value!r}: too large to compute with; at most {LARGEST:g}"
    if isinstance(value, str) and "\0" in value:
        return f" = {value!r}: has a NUL character"
    return ""


def merge(
    below: dict[str, Any],
    above: dict[str, Any],
    schema: type[BaseModel] | None = None,
    kind: str | None = None,
) -> dict[str, Any]:
    """`above` laid over `below`, table by table; a table that names another `kind` replaces.

    schema: of the tables, where that is known; kind: that of a table which names none.
    """
    before = below.get("kind", kind)
    if "kind" in above and before is not None and above["kind"] != before:
        return copy.deepcopy(above)
    result = {name: value for name, value in below.items() if name not in replaced(above, schema)}
    for key, value in above.items():
        old = below.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            field = schema.model_fields.get(key) if schema is not None else None
            choice = choice_of(field) if field is not None else None
            inner = model_of(field, value) if field is not None else None
            result[key] = merge(old, value, inner, choice.default if choice else None)
        else:
            result[key] = value
    return result


def replaced(given: Collection[str], schema: type[BaseModel] | None) -> set[str]:
    """Settings of a section in whose place come those that are `given`, see `ALTERNATIVES`."""
    pairs = schema.ALTERNATIVES if schema is not None and issubclass(schema, Section) else ()
    either = [*pairs, *((second, first) for first, second in pairs)]
    return {other for name, other in either if name in given and other not in given}


def free_alternatives(
    tree: dict[str, Any], given: Sequence[tuple[str, ...]], schema: type[BaseModel]
) -> None:
    """Take out of `tree` what the overrides `given` come in the place of."""
    names: dict[tuple[str, ...], set[str]] = {}
    for keys in given:
        names.setdefault(keys[:-1], set()).add(keys[-1])
    for path, mine in names.items():
        table, model = tree, schema
        for part in path:
            field, table = model.model_fields.get(part), table[part]
            inner = model_of(field, table) if field is not None else None
            if inner is None or not isinstance(table, dict):  # a later override took its place
                break
            model = inner
        else:
            for other in replaced(mine, model):
                table.pop(other, None)


def apply_override(tree: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one dotted key of `tree` from text such as `grid.n=256`; the value is read as TOML.

    Gives the key. CaseError also where a plain name would replace a table and drop what it says.
    """
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
    value, old = _value(text, override), table.get(parts[-1])
    dropped = [name for name in old if name != "kind"] if isinstance(old, dict) else []
    if isinstance(value, str) and dropped:
        name = ".".join(parts)
        raise CaseError(
            f"override {override!r} would drop what the case says of {name} "
            f"({', '.join(dropped)}); give {name}.kind={value} to keep it, or "
            f"{name}={{kind='{value}'}} to replace it all"
        )
    table[parts[-1]] = value
    return tuple(parts)


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
