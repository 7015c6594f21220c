"""The reference of all settings, read from the sections themselves: nothing is said twice.

A setting's meaning is the docstring under its field, its unit the `Unit` of its annotation, what
is allowed its type and bounds; the entries of a registry are sections of their own.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import NoneType
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.config.explain import name_of
from eddyscope.config.registry import Choice, choice_of, forms_of
from eddyscope.config.units import Unit

__all__ = ["SectionText", "SettingText", "as_markdown", "as_text", "chosen", "reference"]

WORDS = {"int": "whole number", "float": "number", "bool": "true or false", "str": "text"}
"""Type -> how people call it."""

MANY = {word: f"{word}s" for word in ("whole number", "number", "text", "table")}
"""The same of more than one."""

REQUIRED, NOT_SET = "required", "not set"
"""In place of a default: there is none; nothing."""

WIDTH = 100
"""Characters of a line on a terminal."""


Seen = dict[type[BaseModel], str]

LARGE = 10**6
"""Above it powers of two are written as such."""

NAME_FIRST = re.compile(r'^`\[.*?(?<=`)(?: (?:of|with) kind =? ?"\w+")?[:.] *')
"""What a section's docstring begins with where it names the section, which is known here."""


@dataclass(frozen=True)
class SettingText:
    """What is to be known of one setting."""

    name: str
    """Without its section's name."""
    default: str
    """As a case file has it; or one of REQUIRED and NOT_SET."""
    allowed: str
    unit: str
    """Empty where it has none."""
    meaning: str


@dataclass(frozen=True)
class SectionText:
    """A section, or the settings of one kind of a choice."""

    name: str
    """As in "base.flow.forcing"."""
    kind: str
    """The kind whose settings these are; empty for a plain section."""
    meaning: str
    settings: Sequence[SettingText]
    same_as: str = ""
    """The section that says what this one's settings are; empty where it says so itself."""

    @property
    def title(self) -> str:
        """As a case file has it: `[base.flow.forcing] kind = "ring"`."""
        header = f"[{self.name}]" if self.name else "(top of the file)"
        return header + (f' kind = "{self.kind}"' if self.kind else "")


def reference(schema: type[BaseModel]) -> list[SectionText]:
    """All sections of a case, each class once: where it comes first."""
    return list(_sections(schema, "", "", _first_words(schema.__doc__), {}))


def chosen(sections: Sequence[SectionText], name: str) -> list[SectionText]:
    """The section `name` with those inside it, or the one setting of that name. CaseError with
    the nearest names where there is none."""
    for s in sections:
        if s.same_as and f"{name}.".startswith(f"{s.name}."):
            return chosen(sections, s.same_as + name.removeprefix(s.name))
    inside = [s for s in sections if s.name == name or s.name.startswith(f"{name}.")]
    if inside:
        return inside
    above, _, last = name.rpartition(".")
    alone = [
        SectionText(s.name, s.kind, s.meaning, found)
        for s in sections
        if s.name == above and (found := [t for t in s.settings if t.name == last])
    ]
    if alone:
        return alone
    sections_known = [s.name for s in sections if s.name]
    settings_known = [f"{s.name}.{t.name}".lstrip(".") for s in sections for t in s.settings]
    known = list(dict.fromkeys([*sections_known, *settings_known]))
    hint = did_you_mean(name, known, most=2)
    top = ", ".join(dict.fromkeys(known_name.split(".")[0] for known_name in sections_known))
    raise CaseError(
        f"no section or setting named {name!r}; {hint + ' ' if hint else ''}sections: {top}"
    )


# --- From classes to words -----------------------------------------------------------------


def _sections(
    model: type[BaseModel], name: str, kind: str, meaning: str, seen: Seen
) -> Iterator[SectionText]:
    """A section and those inside it; seen: class -> the name under which it was shown."""
    seen[model] = name
    inside: list[SectionText] = []
    settings: list[SettingText] = []
    for key, field in model.model_fields.items():
        place = f"{name}.{key}" if name else key
        choice = choice_of(field)
        below = [] if choice is not None else _models_in(field.annotation)
        if kind and key == "kind":
            continue
        if choice is None and below and not field.description and not _is_value(field):
            pass  # a section says itself what it is
        else:
            settings.append(_setting(key, field, choice, below))
        if choice is not None:
            inside += _entries(choice, place, seen)
        for part in below:
            if part in seen:
                words = f"The same as [{seen[part]}]."
                inside.append(SectionText(place, "", words, [], same_as=seen[part]))
            else:
                inside += _sections(part, place, "", _first_words(part.__doc__), seen)
    yield SectionText(name, kind, meaning, settings)
    yield from inside


def _entries(choice: Choice, place: str, seen: Seen) -> Iterator[SectionText]:
    """What all kinds of a choice have in common, and the settings of each kind."""
    kinds: list[list[SectionText]] = []
    for kind, entry in choice.registry.entries.items():
        if entry.Settings not in seen:
            own = vars(entry.Settings).get("__doc__")
            meaning = _first_words(own or entry.__doc__)
            kinds.append(list(_sections(entry.Settings, place, kind, meaning, seen)))
    first = [sections[0].settings for sections in kinds]
    shared = [s for s in first[0] if all(s in others for others in first)] if len(kinds) > 1 else []
    if shared:
        yield SectionText(place, "", f"What every kind of {choice.registry.noun} has.", shared)
    for section, *inside in kinds:
        yield replace(section, settings=[s for s in section.settings if s not in shared])
        yield from inside


def _setting(
    key: str, field: FieldInfo, choice: Choice | None, below: Sequence[type[BaseModel]]
) -> SettingText:
    units = [part.name for part in field.metadata if isinstance(part, Unit)]
    return SettingText(
        name=name_of(key, field),
        default=_default(field),
        allowed=_allowed(field, choice, below),
        unit=units[0] if units else "",
        meaning=" ".join((field.description or "").split()),
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return REQUIRED
    value = field.get_default(call_default_factory=True)
    return "" if value is PydanticUndefined else _as_toml(value)


def _as_toml(value: object) -> str:
    """A default as a case file has it: a choice without more to say as its plain name."""
    if value is None:
        return NOT_SET
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        given = {
            name: getattr(value, name)
            for name, field in fields.items()
            if name == "kind" or getattr(value, name) != field.get_default()
        }
        if given.keys() == {"kind"}:
            return json.dumps(given["kind"], ensure_ascii=False)
        inside = ", ".join(f"{name} = {_as_toml(entry)}" for name, entry in given.items())
        return f"{{{inside}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_as_toml(entry) for entry in value)}]"
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value, ensure_ascii=False)


def _allowed(field: FieldInfo, choice: Choice | None, below: Sequence[type[BaseModel]]) -> str:
    if choice is not None:
        kinds = ", ".join(f'"{kind}"' for kind in choice.registry)
        return f"list of {kinds}" if get_origin(field.annotation) is list else kinds
    bounds = [words for part in field.metadata if (words := _bound(part))]
    forms = [_form(part) for part in forms_of(field.annotation)]
    if below and not any(forms):
        return "table"
    words = " or ".join(form for form in forms if form)
    return ", ".join([words, *bounds]) if bounds else words


def _form(annotation: object) -> str:
    """A type in words; empty for a section, and for none."""
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(json.dumps(word, ensure_ascii=False) for word in get_args(annotation))
    if origin is list:
        inside = [_form(part) or "table" for part in get_args(annotation)]
        return f"list of {' or '.join(MANY.get(words, words) for words in inside)}"
    if hasattr(annotation, "__metadata__"):
        return _form(get_args(annotation)[0])
    if annotation is NoneType or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    ):
        return ""
    return WORDS.get(getattr(annotation, "__name__", ""), "table")


def _bound(part: object) -> str:
    """A bound of a field in words."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    given = [(sign, getattr(part, name)) for name, sign in signs.items() if hasattr(part, name)]
    return ", ".join(f"{sign} {_number(value)}" for sign, value in given)


def _number(value: float) -> str:
    if isinstance(value, int):
        is_power = value > LARGE and value & (value - 1) == 0
        return f"2^{value.bit_length() - 1}" if is_power else str(value)
    return f"{value:g}"


def _is_value(field: FieldInfo) -> bool:
    """Whether a field may also be something else than a section."""
    return any(_form(part) for part in forms_of(field.annotation))


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """The sections that a field's type names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _first_words(text: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    first = " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())
    words = NAME_FIRST.sub("", first)
    return words[:1].upper() + words[1:] if words != first else words


# --- From words to pages -------------------------------------------------------------------


def as_text(sections: Sequence[SectionText]) -> str:
    """For a terminal."""
    blocks = []
    for section in sections:
        lines = [section.title, *_wrapped(section.meaning, 2)]
        for setting in section.settings:
            unit = f" [{setting.unit}]" if setting.unit else ""
            lines.append(f"  {setting.name} = {setting.default}{unit}  ({setting.allowed})")
            lines += _wrapped(setting.meaning, 6)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _wrapped(text: str, indent: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=space, subsequent_indent=space)


def as_markdown(sections: Sequence[SectionText]) -> str:
    """For people who read a page."""
    blocks = []
    for section in sections:
        lines = [f"## `{section.title}`", "", *([section.meaning, ""] if section.meaning else [])]
        if section.settings:
            lines += ["| setting | default | unit | allowed | meaning |", "|---|---|---|---|---|"]
            for s in section.settings:
                default = s.default if s.default in (REQUIRED, NOT_SET) else f"`{s.default}`"
                cells = (f"`{s.name}`", default, s.unit, _escaped(s.allowed), _escaped(s.meaning))
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        elif not section.same_as:
            lines.append("No settings.")
        blocks.append("\n".join(lines).rstrip())
    return "\n\n".join(blocks)


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;")
