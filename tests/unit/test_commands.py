"""Commands that are no stages: settings, example, --version."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import eddyscope
import imports
import synthetic
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from eddyscope.stages import example
from eddyscope.stages.case import load_case
from synthetic_models import write_models

CONFIGS = Path(__file__).parents[2] / "configs"

EXAMPLES = sorted(path.stem for path in CONFIGS.glob("*.toml"))


PACKAGE = Path(eddyscope.__file__).parent

WITHOUT_TARGET = ("beta_plane", "gpu")
"""Examples of a base system alone."""


def quickstart_run(folder: Path) -> None:
    """What a run of the quickstart leaves: datasets and models."""
    out = folder / "runs/quickstart"
    case = load_case(folder / "quickstart.toml")
    synthetic.write_datasets(case, out, World.single())
    write_models(case, out)


def own_datasets(folder: Path) -> None:
    """One long run of each system, imported."""
    for seed, name in enumerate(("base", "target")):
        omega = np.stack([imports.vorticity(64, seed, sample) for sample in range(60)])
        np.save(folder / f"{name}.npy", omega)
        words = ["--dims", "sample,y,x", "--interval", "0.5", "--n", "32"]
        imports.run(folder / f"{name}.h5", "--omega-full", str(folder / f"{name}.npy"), *words)


MAKERS: dict[str, list[Callable[[Path], None]]] = {
    "own_data": [own_datasets],
    "shared_dns": [quickstart_run],
}
"""Example -> what makes the files that it names, beside it."""


def run(*words: str) -> int:
    return guard(lambda: dispatch(words))


def test_version(capfd):
    assert run("--version") == 0
    assert capfd.readouterr().out.startswith(f"eddyscope {eddyscope.__version__}")


def test_settings_of_a_section(capfd):
    assert run("settings", "time") == 0
    words = capfd.readouterr().out
    assert "[time]" in words
    assert "cfl = not set" in words
    assert "[grid]" not in words
    assert run("settings", "tmie") == 2
    assert "did you mean time" in capfd.readouterr().err


def test_examples_are_listed_with_their_first_words(capfd):
    assert run("example") == 0
    lines = capfd.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == EXAMPLES
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_written_with_what_it_extends(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run("example", name) == 0
    assert (tmp_path / f"{name}.toml").read_bytes() == (CONFIGS / f"{name}.toml").read_bytes()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run("example", f"{name}.toml") == 2
    assert "is here already and stays as it is" in capfd.readouterr().err
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_can_be_planned(name, tmp_path, monkeypatch, capfd):
    """With what it names, which MAKERS make."""
    monkeypatch.chdir(tmp_path)
    assert run("example", name) == 0
    for other in MAKERS.get(name, []):
        other(tmp_path)
    stage = "dns" if name in WITHOUT_TARGET else "run"
    only = ["--system", "base"] if name in WITHOUT_TARGET else []
    before = sorted(tmp_path.rglob("*"))
    assert run(stage, f"{name}.toml", "--dry-run", *only) == 0, capfd.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_examples_come_with_the_package():
    """Patterns of pyproject.toml; the folder of the package is a link to configs/."""
    project = tomllib.loads((CONFIGS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["eddyscope"]
    packed = {name for pattern in patterns for name in map(str, PACKAGE.glob(pattern))}
    files = [path.relative_to(CONFIGS) for path in CONFIGS.rglob("*") if path.is_file()]
    wanted = {str(PACKAGE / "examples" / path) for path in files}
    assert wanted - packed == {str(PACKAGE / "examples" / "README.md")}


def test_what_is_no_example_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run("example", "quikstart") == 2
    assert "did you mean quickstart?" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_example_comes_with_its_files(tmp_path, monkeypatch):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name, text in {
        "own.toml": '# Own.\nextends = "base.toml"\n',
        "own.py": "x = 1\n",
        "base.toml": "# Base.\n",
        "other.toml": "# Other.\n",
    }.items():
        (shelf / name).write_text(text)
    monkeypatch.setattr(example, "_folder", lambda: shelf)
    example.written("own", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"shelf", "own.toml", "own.py", "base.toml"}
