"""Choices in case files: tables, plain names, default kinds, settings that entries share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from eddyscope.config.case import Section, load
from eddyscope.config.errors import CaseError
from eddyscope.config.identity import CHANGES_NO_RESULT, deciding
from eddyscope.config.registry import Choice, Registry


class Shared(Section):
    n: int = 8


class Narrow:
    class Settings(Shared):
        kind: Literal["narrow"] = "narrow"
        width: float = Field(default=1.0, gt=0.0)


class Wide:
    class Settings(Shared):
        kind: Literal["wide"] = "wide"


FILTERS: Registry[Any] = Registry("filter", {"narrow": Narrow, "wide": Wide})


class Case(Section):
    filter: Annotated[Any, Choice(FILTERS, default="narrow")] = Narrow.Settings()
    several: list[Annotated[Any, Choice(FILTERS)]] = []
    wait: Annotated[float, CHANGES_NO_RESULT] = 1.0


@pytest.fixture
def read(tmp_path):
    def read_case(text: str, *overrides: str) -> Case:
        path = tmp_path / "case.toml"
        path.write_text(text)
        return load(path, Case, overrides)

    return read_case


def complaint(read, text: str, *overrides: str) -> str:
    with pytest.raises(CaseError) as caught:
        read(text, *overrides)
    return str(caught.value)


def test_a_plain_name_stands_for_a_table(read):
    assert read('filter = "wide"\n').filter == Wide.Settings()
    assert read('several = ["wide", {kind = "narrow", width = 2.0}]\n').several == [
        Wide.Settings(),
        Narrow.Settings(width=2.0),
    ]


def test_a_table_without_a_kind_has_the_default_one(read):
    assert read("[filter]\nwidth = 3.0\n").filter == Narrow.Settings(width=3.0)
    assert read("[filter]\nn = 4\n").filter.n == 4


def test_errors_inside_name_what_the_user_wrote(read):
    assert "filter.width = -1" in complaint(read, "[filter]\nwidth = -1.0\n")
    assert "several.0.width = -1" in complaint(
        read, 'several = [{kind = "narrow", width = -1.0}]\n'
    )
    message = complaint(read, "[filter]\nwidht = 1.0\n")
    assert "filter.widht is not a setting; did you mean width?" in message
    assert "[filter] allows: kind, n, width" in message


def test_an_unknown_name_is_answered_with_the_nearest(read):
    assert "filter = 'wid'; allowed: 'narrow', 'wide'; did you mean wide?" in complaint(
        read, 'filter = "wid"\n'
    )
    assert "several.1 = 'nrrow'" in complaint(read, 'several = ["wide", "nrrow"]\n')
    assert "filter.kind = 'wid'" in complaint(read, '[filter]\nkind = "wid"\n')


def test_a_list_of_choices_needs_kinds(read):
    assert "several.0.kind is missing" in complaint(read, "several = [{width = 1.0}]\n")


def test_what_changes_no_result_is_left_out_of_the_identity(read):
    tree = deciding(read('several = ["wide"]\nwait = 9.0\n'))
    assert tree == {
        "filter": {"n": 8, "kind": "narrow", "width": 1.0},
        "several": [{"n": 8, "kind": "wide"}],
    }
