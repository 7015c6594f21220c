"""What is wrong with a case file, in one line: what was given, what is allowed."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from eddyscope.config.errors import did_you_mean
from eddyscope.config.registry import Choice

__all__ = ["explain"]

SHOWN = 80
"""Characters of a wrong value that are shown."""


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
    return f"{name} = {_shown(given)}: {message}"


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


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
