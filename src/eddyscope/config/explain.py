"""What is wrong with a case: a line for each fault, with what was given and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args, get_origin

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from eddyscope.config.errors import did_you_mean
from eddyscope.config.registry import Choice, choice_of, forms_of
from eddyscope.config.units import Unit

__all__ = ["Fault", "explain", "model_of"]

SHOWN = 80
"""Characters of a wrong value that are shown."""

Tree = Mapping[str, object]
"""What a user wrote: tables in tables."""

Located = tuple[tuple[str, ...], ErrorDetails]
"""Pydantic's finding, and the keys that it is of."""

NOT_A_TABLE = {"model_type", "model_attributes_type", "dict_type"}
"""Pydantic's words for a value in place of a section."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    keys: tuple[str, ...]
    """The setting, as in ("grid", "n"); empty for the case as a whole."""
    words: str
    """One line that names it."""


def explain(error: ValidationError, schema: type[BaseModel], tree: Tree) -> list[Fault]:
    """The faults that a validation found, the most important first."""
    by_setting: dict[tuple[str, ...], list[Located]] = {}
    for finding in error.errors(include_url=False):
        keys, setting = _user_keys(finding["loc"], schema, tree)
        by_setting.setdefault(setting, []).append((keys, finding))
    found = [
        (not _is_cause(keys, finding), _fault(keys, finding, schema, tree))
        for findings in by_setting.values()
        for keys, finding in _of_the_form_meant(findings)
    ]
    found.sort(key=lambda item: item[0])
    return [fault for _, fault in found]


def _is_cause(keys: tuple[str, ...], finding: ErrorDetails) -> bool:
    """Whether it is usually the cause of the others, and is named first: a misspelt key or kind."""
    return finding["type"] == "extra_forbidden" or keys[-1:] == ("kind",)


def _fault(
    keys: tuple[str, ...], finding: ErrorDetails, schema: type[BaseModel], tree: Tree
) -> Fault:
    """One finding, of the key that the user wrote: a choice's kind may stand below its table."""
    words = _words(keys, finding, schema, tree)
    of_kind = finding["type"] == "union_tag_invalid" and isinstance(_look_up(tree, keys), dict)
    return Fault((*keys, "kind") if of_kind else keys, words)


def _of_the_form_meant(
    findings: list[Located],
) -> list[Located]:
    """Of a setting that may be a word or a list, the findings on the form that was given.

    Pydantic tries both, and has something to say on each.
    """
    if not any(finding["type"] == "literal_error" for _, finding in findings[:-1]):
        return findings
    others = [item for item in findings if item[1]["type"] != "literal_error"]
    return others or findings


def _words(
    keys: tuple[str, ...], finding: ErrorDetails, schema: type[BaseModel], tree: Tree
) -> str:
    """What is wrong with one setting, on one line."""
    name, kind, given = ".".join(keys), finding["type"], finding.get("input")
    if kind == "extra_forbidden":
        return _not_a_setting(keys, schema, tree)
    if kind == "missing":
        return f"{name} is missing; add it"
    place = _place(schema, keys, tree)
    if kind in NOT_A_TABLE and place is not None:
        return _not_a_table(name, given, place)
    if kind == "union_tag_not_found" and place is not None and place.choice is not None:
        return f"{name}.kind is missing; add kind = {_alternatives(place.choice)}"
    if kind == "union_tag_invalid":
        tag, allowed = finding["ctx"]["tag"], finding["ctx"]["expected_tags"]
        plain = isinstance(_look_up(tree, keys), str)  # the name alone, without a table
        return f"{name}{'' if plain else '.kind'} = {tag!r}; {_one_of(tag, allowed)}"
    if kind == "list_type" and place is not None:
        message = _not_a_list(name, given, place.field)
    elif kind == "literal_error":
        message = _one_of(given, finding["ctx"]["expected"])
    elif kind == "too_short":
        message = f"is empty; give at least {finding['ctx']['min_length']}"
    else:
        message = finding["msg"].removeprefix("Value error, ").removeprefix("Input ")
        message += _unit_and_way_out(place)
    if not keys:
        return str(message)
    if isinstance(given, dict | BaseModel) or given is None:
        return f"{name}: {message}"
    return f"{name} = {_shown(given)}: {message}"


def _unit_and_way_out(place: _Place | None) -> str:
    """Of a quantity that is refused its unit, and whether none need be given."""
    if place is None or place.field is None:
        return ""
    units = [mark.name for mark in place.field.metadata if isinstance(mark, Unit)]
    optional = "; leave it out for the default" if place.field.default is None else ""
    return f", in {units[0]}{optional}" if units else ""


def name_of(key: str, field: FieldInfo) -> str:
    """What a case file calls a setting, which may be no name in Python, as `class`."""
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else key


def names_of(model: type[BaseModel]) -> list[str]:
    """What a case file calls the settings of a section."""
    return [name_of(key, field) for key, field in model.model_fields.items()]


def _not_a_setting(keys: tuple[str, ...], schema: type[BaseModel], tree: Tree) -> str:
    """Of a key that a section, or the kind that was chosen, does not have."""
    name, table = ".".join(keys), ".".join(keys[:-1])
    place = _place(schema, keys[:-1], tree) if table else None
    model = place.model if place is not None else schema
    allowed = names_of(model) if model is not None else []
    where = f"[{table}]" if table else "the case file"
    choice = place.choice if place is not None else None
    if choice is not None:
        kind = choice.kind_of(_look_up(tree, keys[:-1]))
        owners = [
            other
            for other, entry in choice.registry.entries.items()
            if keys[-1] in entry.Settings.model_fields
        ]
        if owners:
            return (
                f"{name} is not a setting of kind {kind!r}, but of {_listed(owners)}; leave it "
                f"out, or, where a file that is extended has it, name its kind there: kind = "
                f"{json.dumps(owners[0])}; "
                f"{where} allows: {', '.join(sorted(allowed))}"
            )
    hint = did_you_mean(keys[-1], allowed, most=2)
    return (
        f"{name} is not a setting; {hint + ' ' if hint else ''}{where} allows: "
        f"{', '.join(sorted(allowed))}"
    )


def _not_a_table(name: str, given: object, place: _Place) -> str:
    """Of a value in place of a section, or of a choice."""
    if place.choice is not None:
        return (
            f"{name} = {_shown(given)}: must be a table with kind = "
            f"{_alternatives(place.choice)}, or that name alone"
        )
    allowed = ", ".join(sorted(names_of(place.model))) if place.model is not None else ""
    return f"{name} = {_shown(given)}: is a section, not a value; [{name}] allows: {allowed}"


def _not_a_list(name: str, given: object, field: FieldInfo | None) -> str:
    """Of a single value where a list, or a word, is wanted."""
    forms = forms_of(field.annotation if field is not None else None)
    words = [word for form in forms for word in get_args(form) if isinstance(word, str)]
    items = [item for form in forms if get_origin(form) is list for item in get_args(form)]
    message = "must be a list" + "".join(f", or {json.dumps(word)}" for word in words)
    if any(_may_be(given, item) for item in items):
        return f"{message}; write {name} = [{_toml(given)}]"
    hint = did_you_mean(given, words)
    return f"{message}; {hint}" if hint else message


def _may_be(given: object, item: object) -> bool:
    """Whether a value could be an item of a list."""
    if isinstance(item, type):
        return type(given) is item
    return isinstance(given, str | dict)  # a choice: a name or a table


def _toml(value: object) -> str:
    """A value as a case file has it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_toml(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return _shown(value)


def _one_of(given: object, allowed: str) -> str:
    hint = did_you_mean(given, _quoted(allowed))
    return f"allowed: {allowed}" + (f"; {hint}" if hint else "")


def _alternatives(choice: Choice) -> str:
    return _listed([json.dumps(kind) for kind in choice.registry.entries])


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _quoted(text: str) -> list[str]:
    return [word for i, word in enumerate(text.split("'")) if i % 2]


# --- Where a key leads to ------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """What the schema has at a key."""

    field: FieldInfo | None
    """Of the key, or of the list that it is in."""
    model: type[BaseModel] | None
    """The section there; None for a value, or an unknown kind."""
    choice: Choice | None


def _look_up(tree: object, keys: Sequence[str]) -> object:
    """What the user wrote under `keys`; None for nothing."""
    for key in keys:
        if isinstance(tree, list) and key.isdigit():
            tree = tree[int(key)]
        else:
            tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _place(schema: type[BaseModel], keys: Sequence[str], tree: Tree) -> _Place | None:
    """What the schema has where `keys` lead to; None for the case itself."""
    place: _Place | None = None
    model: type[BaseModel] | None = schema
    field: FieldInfo | None = None
    for depth, key in enumerate(keys):
        if not key.isdigit():
            field = model.model_fields.get(key) if model is not None else None
        if field is None:
            return _Place(None, None, None)
        model = model_of(field, _look_up(tree, keys[: depth + 1]))
        place = _Place(field, model, choice_of(field))
    return place


def _user_keys(
    location: tuple[int | str, ...], schema: type[BaseModel], tree: Tree
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the keys a user wrote, those of the setting alone, without places in its list).

    Pydantic's location, without the kinds and the types that it adds at choices and at unions.
    """
    keys: list[str] = []
    setting = 0
    model: type[BaseModel] | None = schema
    choice: Choice | None = None
    for part in location:
        if choice is not None and part in choice.registry.entries:
            model, choice = choice.registry.entries[part].Settings, None
            continue
        if isinstance(part, int):
            keys.append(str(part))
            continue  # an item of a list is what the list's field says
        field = model.model_fields.get(part) if model is not None else None
        if field is None and keys and model is None:
            continue  # the name of a type in a union
        keys.append(part)
        setting = len(keys)
        choice = choice_of(field) if field is not None else None
        model = model_of(field, _look_up(tree, keys)) if field is not None else None
        if choice is not None and len(choice.registry.entries) == 1:
            choice = None
    return tuple(keys), tuple(keys[:setting])


def model_of(field: FieldInfo, given: object) -> type[BaseModel] | None:
    """The section that a field holds where the user gave `given`."""
    choice = choice_of(field)
    if choice is not None:
        entries = choice.registry.entries
        only = next(iter(entries.values())) if len(entries) == 1 else None
        entry = entries.get(choice.kind_of(given), only)
        return None if entry is None else entry.Settings
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
