"""Own arrays, end to end: imported, named in a case, trained on, explained and reported; killed on
the way and taken up again. The datasets are read, and never written."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import imports
from eddyscope.__main__ import dispatch
from eddyscope.artefacts.evaluation import read_summary
from eddyscope.artefacts.model import read_model
from eddyscope.parallel.failure import guard
from imports import DIMS
from reliability.test_interrupted import started, wait_for

CONFIGS = Path(__file__).parents[2] / "configs"

LIMIT = 200.0
"""Seconds for one job."""

MODEL = "models/base.safetensors"

CASE = """
name = "own"
[base]
dataset = "base.h5"
ensemble = {split = {train = 2, test = 1}}
[target]
dataset = "target.h5"
ensemble = {split = {train = 1, test = 2}}
[network]
depth = 3
width = 6
kernel_size = 3
[training]
epochs = 40
batch_size = 4
checkpoint_every = 1
[transfer]
samples = 3
epochs = 3
layers = ["l01", "l03"]
[advise]
samples = 2
"""


def full(folder: Path, system: str, shift: int) -> None:
    """A dataset of vorticity at full resolution."""
    omega = [[imports.vorticity(32, shift, m, s) for s in range(4)] for m in range(3)]
    np.save(folder / f"{system}.npy", np.array(omega))
    words = ["--omega-full", str(folder / f"{system}.npy"), *DIMS, "--n", "16"]
    imports.run(folder / f"{system}.h5", *words)


def oblong(folder: Path, system: str, shift: int) -> None:
    """A dataset of filtered fields between walls, with one that no flow here has."""
    rng = np.random.default_rng(shift)
    words = []
    for name in ("omega", "pi", "heat"):
        np.save(folder / f"{name}.npy", rng.standard_normal((3, 4, 12, 16)))
        option = [f"--{name}"] if name != "heat" else ["--field"]
        words += [*option, f"{'heat=' * (name == 'heat')}{folder / name}.npy"]
    imports.run(folder / f"{system}.h5", *words, *DIMS, "--walls", "y")


KINDS: dict[str, tuple[Callable[[Path, str, int], None], str]] = {
    "full": (full, ""),
    "oblong": (oblong, 'inputs = ["omega", "heat"]\n'),
}


@pytest.fixture
def case(request, tmp_path) -> Path:
    make, inputs = KINDS[request.param]
    for shift, system in enumerate(("base", "target")):
        make(tmp_path, system, shift)
    path = tmp_path / "own.toml"
    text = CASE.replace("[network]\n", f"[network]\n{inputs}")
    if inputs:  # whose dimensions are not known
        text = text.replace("[transfer]\n", '[transfer]\nnormalisation = "target"\n')
    path.write_text(text, encoding="utf-8")
    return path


def command(case: Path, out: str, stage: str = "run") -> list[str]:
    words = [stage, str(case), "--out", str(case.parent / out)]
    return [sys.executable, "-m", "eddyscope", *words]


def datasets(folder: Path) -> dict[str, tuple[str, int]]:
    """Digest and time of writing of each."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.glob("*.h5")
    }


@pytest.mark.parametrize(("case", "ranks"), [("full", 2), ("oblong", 1)], indirect=["case"])
def test_from_arrays_to_a_report(case, launch, ranks):
    before = datasets(case.parent)
    if ranks == 1:
        assert guard(lambda: dispatch(command(case, "out")[3:])) == 0
    else:
        ended = launch(ranks, command(case, "out"), LIMIT)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
    out = case.parent / "out"
    assert (out / "report" / "index.html").stat().st_size > 10_000
    models = read_summary(out / "evaluation.json").models
    assert {"base", "l01", "l03"} <= models.keys()
    assert np.isfinite(models["l01"]["target"]["error"].mean)
    assert datasets(case.parent) == before


@pytest.mark.parametrize("case", ["full"], indirect=True)
def test_killed_it_ends_with_the_same_model(case, launch):
    undisturbed = launch(2, command(case, "undisturbed", "train"), LIMIT)
    assert undisturbed.returncode == 0, undisturbed.stderr
    before, models = datasets(case.parent), case.parent / "out" / "models"
    with started(2, command(case, "out", "train")) as process:
        wait_for(lambda: any(models.glob("base*.ckpt")), process)
        assert process.poll() is None, "it ended before it was killed"
    assert not (case.parent / "out" / MODEL).exists()
    ended = launch(2, command(case, "out", "train"), LIMIT)
    assert ended.returncode == 0, ended.stderr
    ours, theirs = (read_model(case.parent / out / MODEL) for out in ("out", "undisturbed"))
    assert ours.weights.keys() == theirs.weights.keys()
    for name, values in ours.weights.items():
        np.testing.assert_array_equal(values, theirs.weights[name], err_msg=name)
    assert datasets(case.parent) == before


def test_the_arrays_of_the_example_are_what_it_imports(tmp_path, monkeypatch):
    """configs/own_data.py, cut short; and the first command of own_data.toml."""
    monkeypatch.chdir(tmp_path)
    script = (CONFIGS / "own_data.py").read_text(encoding="utf-8")
    for long, short in {
        "N = 96": "N = 48",
        "SPIN_UP = 10.0": "SPIN_UP = 0.1",
        "= 80": "= 3",
    }.items():
        assert long in script
        script = script.replace(long, short)
    exec(compile(script, "own_data.py", "exec"), {})
    text = (CONFIGS / "own_data.toml").read_text(encoding="utf-8")
    (words,) = re.findall(r"# +eddyscope import base\.h5 (.*)", text)
    dataset = imports.run(tmp_path / "base.h5", *shlex.split(words))
    assert (dataset.members, dataset.samples, dataset.grids) == (1, 3, [32])
