"""TOML case files: reading, `extends`, overrides, validation, and errors a user can act on.

This module holds the machinery only. Each room declares its own settings as a
`Section` beside the code that uses them; `stages/case.py` puts them together.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.config.registry import Choice

__all__ = ["Section", "load", "read_toml"]


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


def load(
    path: str | Path,
    schema: type[S],
    overrides: Sequence[str] = (),
    prepare: Callable[[dict[str, Any]], None] = lambda tree: None,
) -> S:
    """Read `path`, apply `overrides` ("section.key=value") and validate against `schema`.

    `prepare` may amend the tree before it is validated. Raises CaseError.
    Not collective: call it on one rank and broadcast, or inside `agree`.
    """
    path = Path(path)
    tree = read_toml(path)
    for override in overrides:
        apply_override(tree, override)
    prepare(tree)
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise CaseError(f"{path}: {explain(error, schema, tree)}") from None


def read_toml(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tree of a TOML file, laid over the file that its `extends` names (if it does)."""
    if path.resolve() in seen:
        chain = " -> ".join(p.name for p in (*seen, path))
        raise CaseError(f"{path}: `extends` goes in a circle ({chain}); remove one of the links")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CaseError(f"{path}: no such case file; see configs/ for examples") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CaseError(f"{path}: cannot be read as a case file ({reason})") from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"{path}: not valid TOML: {error}") from None
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise CaseError(
            f'{path}: extends = {parent!r}; give one file name, as in extends = "a.toml"'
        )
    return merge(read_toml(path.parent / parent, (*seen, path.resolve())), tree)


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
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise CaseError(
            f"override {override!r} is not of the form section.key=value, as in grid.n=256"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word, so that `time.scheme=ab2cn` needs no quotes
    table = tree
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise CaseError(f"override {override!r}: {part} is a value, not a section")
    table[parts[-1]] = value


def explain(error: ValidationError, schema: type[BaseModel], tree: dict[str, Any]) -> str:
    """The first finding of a validation error as one line, with the number of further ones."""
    findings = error.errors(include_url=False)
    # A misspelt key is usually the cause of the others, so it is named first.
    findings.sort(key=lambda f: f["type"] != "extra_forbidden")
    line = _explain_one(findings[0], schema, tree)
    if len(findings) > 1:
        line += f" (and {len(findings) - 1} more)"
    return line


def _explain_one(finding: Any, schema: type[BaseModel], tree: dict[str, Any]) -> str:
    keys = _user_keys(finding["loc"], schema, tree)
    name = ".".join(keys) or "case"
    kind = finding["type"]
    context = finding.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _allowed_keys(schema, keys[:-1], tree)
        hint = did_you_mean(keys[-1], allowed, most=2)
        where = f"[{'.'.join(keys[:-1])}]" if keys[:-1] else "the case file"
        return (
            f"{name} is not a setting; {hint + ' ' if hint else ''}{where} allows: "
            f"{', '.join(sorted(allowed))}"
        )
    if kind == "missing":
        return f"{name} is missing; add it"
    if kind == "union_tag_not_found":
        return f'{name}.kind is missing; add kind = "..."'
    given = finding.get("input")
    if kind == "union_tag_invalid":
        hint = did_you_mean(context["tag"], _quoted(context["expected_tags"]))
        plain = isinstance(_look_up(tree, keys), str)  # the name alone, without a table
        return (
            f"{name}{'' if plain else '.kind'} = {context['tag']!r}; allowed: "
            f"{context['expected_tags']}" + (f"; {hint}" if hint else "")
        )
    message = finding["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind == "literal_error":
        hint = did_you_mean(given, _quoted(context["expected"]))
        message = f"allowed: {context['expected']}" + (f"; {hint}" if hint else "")
    if isinstance(given, dict | BaseModel) or given is None:
        return f"{name}: {message}"
    return f"{name} = {given!r}: {message}"


def _quoted(text: str) -> list[str]:
    return [word for i, word in enumerate(text.split("'")) if i % 2]


def _look_up(tree: Any, keys: list[str]) -> Any:
    """What the user wrote under `keys`; None for nothing."""
    for key in keys:
        if isinstance(tree, list) and key.isdigit():
            tree = tree[int(key)]
        else:
            tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _user_keys(
    location: tuple[int | str, ...], schema: type[BaseModel], tree: dict[str, Any]
) -> list[str]:
    """The keys a user wrote: pydantic's location without the kinds it adds at choices."""
    keys: list[str] = []
    model: type[BaseModel] | None = schema
    choice: Choice | None = None
    for part in location:
        if choice is not None and part in choice.registry.entries:
            model, choice = choice.registry.entries[part].Settings, None
            continue
        keys.append(str(part))
        if isinstance(part, int):
            continue  # an item of a list is what the list's field says
        field = model.model_fields.get(part) if model is not None else None
        choice = _choice_of(field) if field is not None else None
        model = _model_of(field, _look_up(tree, keys)) if field is not None else None
        if choice is not None and len(choice.registry.entries) == 1:
            choice = None
    return keys


def _allowed_keys(schema: type[BaseModel], keys: list[str], tree: dict[str, Any]) -> list[str]:
    """The settings allowed in the section that `keys` lead to."""
    model: type[BaseModel] | None = schema
    field: FieldInfo | None = None
    for place, key in enumerate(keys):
        if not key.isdigit():
            field = model.model_fields.get(key) if model is not None else None
        model = _model_of(field, _look_up(tree, keys[: place + 1])) if field is not None else None
    return list(model.model_fields) if model is not None else []


def _choice_of(field: FieldInfo) -> Choice | None:
    """The choice that a field, or each item of its list, offers."""
    inside = [m for part in get_args(field.annotation) for m in getattr(part, "__metadata__", ())]
    return next((m for m in (*field.metadata, *inside) if isinstance(m, Choice)), None)


def _model_of(field: FieldInfo, given: Any) -> type[BaseModel] | None:
    """The section that a field holds where the user gave `given`."""
    choice = _choice_of(field)
    if choice is not None:
        entry = choice.registry.entries.get(choice.kind_of(given))
        return None if entry is None else entry.Settings
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
