"""The reference of settings: complete, current, and found by the names that people try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.reference import as_text, chosen, reference
from eddyscope.config.registry import Choice, Registry
from eddyscope.config.units import SECONDS
from eddyscope.stages.case import Case
from eddyscope.stages.settings import page

CONFIGS = Path(__file__).parents[2] / "configs"


class Shared(Section):
    """What all have."""

    size: int = Field(default=3, ge=1)
    """How large."""


class Ball:
    """It rolls."""

    class Settings(Shared):
        kind: Literal["ball"] = "ball"


class Cube:
    class Settings(Shared):
        """It does not."""

        kind: Literal["cube"] = "cube"
        edges: list[Literal["round", "sharp"]] = ["sharp"]
        """What they are like."""


THINGS: Registry[object] = Registry("thing", {"ball": Ball, "cube": Cube})


class Shelf(Section):
    """`[shelf]`: where things lie."""

    thing: Annotated[Any, Choice(THINGS)] = Ball.Settings()
    """What lies there."""
    patience: Annotated[float, SECONDS] = Field(gt=0.0, le=2**40)
    """How long."""


class House(Section):
    """A house."""

    upper: Shelf | None = None
    lower: Shelf | None = None


def test_it_says_what_the_sections_say():
    assert as_text(reference(House)).splitlines() == [
        "(top of the file)",
        "  A house.",
        "",
        "[upper]",
        "  Where things lie.",
        '  thing = "ball"  ("ball", "cube")',
        "      What lies there.",
        "  patience = required [s]  (number, > 0, ≤ 2^40)",
        "      How long.",
        "",
        "[upper.thing]",
        "  What every kind of thing has.",
        "  size = 3  (whole number, ≥ 1)",
        "      How large.",
        "",
        '[upper.thing] kind = "ball"',
        "  It rolls.",
        "",
        '[upper.thing] kind = "cube"',
        "  It does not.",
        '  edges = ["sharp"]  (list of "round" or "sharp")',
        "      What they are like.",
        "",
        "[lower]",
        "  The same as [upper].",
    ]


def test_a_section_a_kind_and_a_setting_are_found():
    sections = reference(House)
    assert [s.kind for s in chosen(sections, "upper.thing")] == ["", "ball", "cube"]
    assert chosen(sections, "lower.thing") == chosen(sections, "upper.thing")
    (found,) = chosen(sections, "lower.patience")
    assert [s.name for s in found.settings] == ["patience"]
    with pytest.raises(CaseError, match=r"no section or setting named 'uper'; did you mean upper"):
        chosen(sections, "uper")


def test_every_setting_of_a_case_has_a_meaning():
    without = [
        f"{section.title} {setting.name}"
        for section in reference(Case)
        for setting in section.settings
        if not setting.meaning
    ]
    assert not without, "\n".join([*without, "Write a docstring under the field."])


def test_every_section_of_a_case_has_words():
    without = [section.title for section in reference(Case) if not section.meaning]
    assert not without, "\n".join([*without, "Write a docstring for the class."])


def test_the_page_is_current():
    """eddyscope settings --markdown > configs/README.md"""
    assert (CONFIGS / "README.md").read_text(encoding="utf-8") == page(markdown=True)
