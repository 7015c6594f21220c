"""What the documents show is run: snippets of docstrings and of the README."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import eddyscope
import synthetic
from eddyscope.parallel.world import World
from synthetic_models import write_models

ROOT = Path(__file__).parents[2]

PAGES = ["README.md", "CONTRIBUTING.md", "jobs/README.md"]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

CHEAP = ("settings", "example", "info", "--version")
"""Commands that are run; of the others, whatever they are given must be understood."""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with what snippets read: runs/mine/ as a run of a small case leaves it."""
    out = tmp_path / "runs" / "mine"
    out.mkdir(parents=True)
    case = synthetic.make_case(tmp_path)
    synthetic.write_datasets(case, out, World.single())
    write_models(case, out)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(page: str, *languages: str) -> list[str]:
    """Texts of a page's code blocks in some languages."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [code for language, code in BLOCK.findall(text) if language in languages]


def commands(page: str) -> Iterator[list[str]]:
    """Words of every eddyscope command in a page's shell blocks, after `eddyscope`."""
    for block in blocks(page, "sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "eddyscope" in words:
                found = words[words.index("eddyscope") + 1 :]
                yield [word for word in found if word not in (";", "&&", ">")]


@pytest.mark.parametrize("module", sorted(set(eddyscope.HOMES.values())))
def test_snippets_of_docstrings(here, module):
    loaded = importlib.import_module(f"eddyscope.{module}")
    failed, tried = doctest.testmod(loaded, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed
    assert tried or not module.startswith("api.")
