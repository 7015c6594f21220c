"""Every setting of every section at values that nobody means: refused in one line, or planned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import synthetic
from eddyscope.__main__ import dispatch
from eddyscope.config.registry import Choice
from eddyscope.parallel.failure import guard
from eddyscope.stages.case import Case

EXTREMES = {
    "int": (str(2**62), "0"),
    "float": ("1e30", "1e-30"),
    "list": ("[]", "[1000000]"),
    "str": ('""', '"/"'),
}
"""Type -> values as TOML."""


def choice_of(field: Any) -> Choice | None:
    """The choice that a field offers; None where it offers none, or a list of choices."""
    return next((m for m in field.metadata if isinstance(m, Choice)), None)


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a field's type names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from sections_in(part)


def overrides(section: type[BaseModel], keys: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Overrides that set one field each, in every section and every entry of every registry."""
    for name, field in section.model_fields.items():
        choice = choice_of(field)
        inside = next(sections_in(field.annotation), None)
        here = (*keys, name)
        if choice is not None:
            for kind, entry in choice.registry.entries.items():
                for words in overrides(entry.Settings, here):
                    # A flow keeps what the case says of it: its Reynolds number has no default.
                    yield words if name == "flow" else [f"{'.'.join(here)}.kind={kind}", *words]
        elif inside is not None:
            yield from overrides(inside, here)
        else:
            words = str(field.annotation)
            for kind in (kind for kind in EXTREMES if kind in words and "Literal" not in words):
                for value in EXTREMES[kind]:
                    yield [f"{'.'.join(here)}={value}"]


ALL = list(overrides(Case))


def test_every_section_is_tried():
    tried = {words[-1].split(".")[0] for words in ALL}
    assert {"grid", "time", "base", "target", "filter", "network", "training", "les"} <= tried
    assert len(ALL) > 100


@pytest.mark.parametrize("part", range(4))
def test_no_value_of_a_setting_crashes_a_plan(tmp_path: Path, capfd: Any, part: int) -> None:
    synthetic.make_case(tmp_path)
    case, out = tmp_path / "synthetic.toml", tmp_path / "out"
    wrong = []
    for words in ALL[part::4]:
        command = ["run", str(case), "--dry-run", "--out", str(out), *words]
        status = guard(lambda command=command: dispatch(command))  # type: ignore[misc]
        lines = [t for t in capfd.readouterr().err.splitlines() if t.startswith("eddyscope:")]
        if status not in (0, 2) or len(lines) != (status == 2) or out.exists():
            wrong.append(f"{words}: status {status}, {lines}")
    assert not wrong, "\n".join(wrong)
