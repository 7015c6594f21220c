"""What the documents show is run: snippets of docstrings and of the README."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib
import numpy as np
import pytest

import eddyscope
import synthetic
from eddyscope.__main__ import dispatch, parse
from eddyscope.closures.base import Sources
from eddyscope.filtering.kernels import FILTERS
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.learning.models import load_model
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.stages.stage import STAGES
from synthetic_models import write_models

ROOT = Path(__file__).parents[2]

PAGES = ["README.md", "CONTRIBUTING.md", "jobs/README.md", "jobs/results/README.md"]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

PLACES = {"CASE.toml": "configs/quickstart.toml", "OUT": "out"}
"""What people are to put in, and what is put in here."""

CHEAP = ("settings", "example", "info", "--version")
"""Commands that are run as they stand; others are planned where that costs nothing."""

LONGEST = 130
"""Lines of the README: one page."""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """runs/quickstart/ as a run of a small case leaves it."""
    folder = tmp_path_factory.mktemp("made")
    out = folder / "runs" / "quickstart"
    out.mkdir(parents=True)
    case = synthetic.make_case(folder, "grid.n=64", "filter.n=[32]")
    synthetic.write_datasets(case, out, World.single())
    write_models(case, out)
    np.save(folder / "omega.npy", synthetic.fields(64, 4.0, (1,))["omega"])
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch) -> Path:
    """A folder with what snippets read: what a run has left, a field, configs/."""
    matplotlib.use("agg")
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(page: str, *languages: str) -> list[str]:
    """Texts of a page's code blocks in some languages."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [code for language, code in BLOCK.findall(text) if language in languages]


def commands(page: str) -> Iterator[list[str]]:
    """Words of every command in a page's shell blocks, comments left out."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = [PLACES.get(word, word) for word in shlex.split(line, comments=True)]
            if words:
                yield words


def ours(page: str) -> Iterator[list[str]]:
    """What follows `eddyscope` in the commands of a page."""
    for words in commands(page):
        if "eddyscope" in words:
            yield words[words.index("eddyscope") + 1 :]


@pytest.mark.parametrize("module", sorted(set(eddyscope.HOMES.values())))
def test_snippets_of_docstrings(here, module):
    loaded = importlib.import_module(f"eddyscope.{module}")
    failed, tried = doctest.testmod(loaded, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed
    assert tried or not module.startswith("api.")


def run_python(page: str, folder: Path) -> Any:
    """A page's Python blocks, one after the other, as one module."""
    path = folder / f"{Path(page).stem.lower()}_page.py"
    path.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where pydantic looks for the docstrings of settings
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES)
def test_python_on_a_page_runs(here, page):
    run_python(page, here)


def test_recipes_do_what_they_say(here):
    """Those of CONTRIBUTING.md: a filter, a closure, a score, an adaptation."""
    page = run_python("CONTRIBUTING.md", here)
    flow = eddyscope.Solver({"kind": "navier_stokes", "reynolds": 100.0}, n=32).simulation.flow
    settings = page.Helmholtz.Settings(n=[16])
    with mock.patch.dict(FILTERS.entries, helmholtz=page.Helmholtz):
        coarse = Subgrid(flow, settings, TRANSFORMS.settings("fftw")).grids[16]
    assert coarse.filter.max() == 1.0
    assert 0.1 < coarse.filter.min() < 0.5
    sources = Sources(here, here, here, None)
    closure = page.Drag(page.Drag.Settings(rate=0.5), sources).on(flow, 0.1)
    state = flow.transform.zeros_spectral()
    state[0, 0, 1, 2] = 1.0 + 2.0j
    assert np.allclose(closure.pi_hat(state), -0.5 * state)
    assert page.Drag.Settings.model_fields["rate"].description == "c."
    network = load_model(here / "runs/quickstart/models/base.safetensors").network
    score = page.Fewest(page.Fewest.Settings())
    assert score.of_layer(network, None, "l03").value == 1.0 / 55
    module = page.Biases(page.Biases.Settings()).module(network, ())
    changing = {name for name, p in module.named_parameters() if p.requires_grad}
    assert changing == {"l01.bias", "l02.bias", "l03.bias"}


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_a_page_are_understood(page):
    for words in ours(page):
        if words != ["--version"]:
            parse(words)


def test_cheap_commands_on_pages_do_what_they_say(here, capfd):
    done = []
    for words in (found for page in PAGES for found in ours(page)):
        plan = words[0] in ("run", *STAGES) and "--measure" not in words
        if words[0] in CHEAP and not (words[0] == "info" and "OUT" in words[1]):
            assert guard(lambda words=words: dispatch(words)) == 0, words  # type: ignore[misc]
        elif plan:
            dry = [word for word in words if word != "--dry-run"] + ["--dry-run"]
            dry += [] if "--out" in words else ["--out", "elsewhere"]
            assert guard(lambda words=dry: dispatch(words)) == 0, words  # type: ignore[misc]
        else:
            continue
        done.append(words[0])
    assert {"settings", "example", "info", "run", "dns"} <= set(done)
    assert not (here / "runs" / "mine").exists()


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    scripts = [word for words in commands(page) for word in words if word.startswith("jobs/")]
    made = {"jobs/slurm/site.sh", "jobs/pbs/site.sh"}
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    missing += [word for word in scripts if word not in made and not (ROOT / word).exists()]
    assert not missing


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST
