"""Datasets and models that a case names, and what does not fit them: one line, exit status 2."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import imports
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from synthetic import make_case, write_datasets
from synthetic_models import write_models

NAMING = """
name = "second"
[base]
dataset = "first/base/dataset.h5"
[target]
dataset = "first/target/dataset.h5"
[training]
model = "first/models/base.safetensors"
[transfer]
samples = 3
[advise]
samples = 2
"""


@dataclass(frozen=True)
class Bad:
    words: Sequence[str]
    overrides: Sequence[str] = ()
    stage: str = "transfer"
    damage: Callable[[Path], None] = lambda folder: None


def channel(folder: Path) -> None:
    """own.h5: fields between walls, with one that flows here do not have."""
    rng = np.random.default_rng(1)
    words = []
    for field in ("psi", "pi", "heat"):
        np.save(folder / f"{field}.npy", rng.standard_normal((2, 5, 16, 16)))
        words += ["--field", f"heat={folder / 'heat.npy'}"] if field == "heat" else [
            f"--{field}", str(folder / f"{field}.npy")
        ]  # fmt: skip
    imports.run(folder / "own.h5", *words, *imports.DIMS, "--walls", "y")


def cut(folder: Path) -> None:
    path = folder / "first/base/dataset.h5"
    path.write_bytes(path.read_bytes()[:-2000])


OWN = [
    'target={dataset="own.h5"}',
    'base={dataset="own.h5"}',
    "transfer.normalisation='base'",
    "training={}",
]

TABLE = {
    "missing dataset": Bad(["base.h5", "no such dataset"], ["base.dataset=base.h5"]),
    "dataset cut short": Bad(["first/base/dataset.h5", "seal"], damage=cut),
    "model for a dataset": Bad(
        ["base.safetensors", "not a readable dataset"],
        ["base.dataset=first/models/base.safetensors"],
    ),
    "missing model": Bad(["none.safetensors", "no such"], ["training.model=none.safetensors"]),
    "dataset for a model": Bad(["dataset.h5"], ["training.model=first/base/dataset.h5"]),
    "re-trained model": Bad(
        ["is the model l02", "name a base model"],
        ["training.model=first/models/transfer/l02.safetensors"],
    ),
    "another network": Bad(
        ["depth = 3", "network.depth = 4"], ["network={depth=4, width=6, kernel_size=3}"]
    ),
    "another grid than the model's": Bad(["network.n = 8", "n = 16"], ["network.n=8"]),
    "grid that the dataset lacks": Bad(
        ["base.dataset", "n = 16", "is 8"], ["training={}", "network={n=8, depth=2, kernel_size=3}"]
    ),
    "another ensemble": Bad(
        ["ensemble.members = 9", "has 4", "leave it out"], ["base.ensemble.members=9"]
    ),
    "another flow": Bad(
        ["flow is another", "leave [flow] out"],
        ["target.flow={kind='navier_stokes', reynolds=7.0}"],
    ),
    "split that does not sum": Bad(
        ["split has 3 members", "members = 4"], ["base.ensemble.split={train=2, test=1}"]
    ),
    "more samples than there are": Bad(
        ["transfer.samples = 7", "target ensemble has 6"], ["transfer.samples=7"]
    ),
    "one simulated, without a grid": Bad(
        ["grid is missing"],
        ["base={flow={kind='navier_stokes', reynolds=9.0}, ensemble={members=2, interval=1.0, "
         "samples=2}}", "training={}"],
        "dns",
    ),
    "field that is not there": Bad(
        ["base.dataset", "no field 'salt'", "it has omega"],
        ["training={}", "network={depth=2, kernel_size=3, inputs=['psi', 'salt']}"],
    ),
    "velocity between walls": Bad(
        ["no field 'u'", "not periodic", "--field u=FILE"],
        [*OWN, "network={depth=2, kernel_size=3, inputs=['u']}"],
        damage=channel,
    ),
    "velocity that is turned": Bad(
        ["training.rotations", "u turns into another"],
        ["training={rotations=true}", "network={depth=2, kernel_size=3, inputs=['u']}"],
    ),
    "walls that are turned": Bad(
        ["training.rotations", "not periodic"],
        [*OWN[:3], "training={rotations=true}", "network={depth=2, kernel_size=3, inputs=['psi']}"],
        damage=channel,
    ),
    "vorticity that is not known": Bad(
        ['normalisation = "dimensional"', "of the base is not known", '"base" or "target"'],
        [*OWN[:2], "training={}", "network={depth=2, kernel_size=3, inputs=['psi']}"],
        damage=channel,
    ),
    "dimension that is not known": Bad(
        ["dimension of heat is not known", 'set it to "base" or "target"'],
        [*OWN[:2], "training={}", "network={depth=2, kernel_size=3, inputs=['psi', 'heat']}"],
        damage=channel,
    ),
    "no field at all": Bad(["network.inputs", "at least one"], ["network.inputs=[]"]),
    "les without a flow": Bad(
        ["target's flow is not known", "[target.flow]"],
        [*OWN, "network={depth=2, kernel_size=3, inputs=['psi']}"],
        "les",
        damage=channel,
    ),
    "les of another output": Bad(
        ["gives heat", "needs pi"],
        [*OWN, "network={depth=2, kernel_size=3, inputs=['psi'], outputs=['heat']}"],
        "les",
        damage=channel,
    ),
    "spectra between walls": Bad(
        ["nothing to analyze", "not periodic"],
        [*OWN, "network={depth=2, kernel_size=3, inputs=['psi']}"],
        "analyze",
        damage=channel,
    ),
    "filter that the dataset was not made with": Bad(
        ["width = 3", "width = 2"], ["filter={n=[16], width=3.0}"], "les"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    case = make_case(folder)
    write_datasets(case, folder / "first", World.single())
    write_models(case, folder / "first")
    (folder / "second.toml").write_text(NAMING)
    return folder


@pytest.mark.parametrize("name", list(TABLE))
def test_bad_named(template: Path, tmp_path: Path, capfd, name: str):
    bad, folder = TABLE[name], tmp_path / "here"
    shutil.copytree(template, folder)
    bad.damage(folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    capfd.readouterr()
    command = [bad.stage, str(folder / "second.toml"), *bad.overrides, "--out", str(folder / "out")]
    status = guard(lambda: dispatch(command))
    first, *more = capfd.readouterr().err.splitlines()
    missing = [word for word in bad.words if word not in first]
    assert not missing, f"{missing} not in: {first}"
    assert status == 2 and not [line for line in more if not line.startswith("  also: ")]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_what_is_named_is_safe_where_a_step_would_write(template: Path, tmp_path: Path, capfd):
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    moved = folder / "out/models/transfer/base.safetensors"
    moved.parent.mkdir(parents=True)
    shutil.copy(folder / "first/models/base.safetensors", moved)
    words = [str(folder / "second.toml"), f"training.model={moved}", "--out", str(folder / "out")]
    assert guard(lambda: dispatch(["transfer", *words, "--fresh"])) == 2
    said = capfd.readouterr().err
    assert "the case names it" in said and "--out" in said
    assert moved.read_bytes() == (folder / "first/models/base.safetensors").read_bytes()


def test_a_dataset_that_is_named_may_be_moved(template: Path, tmp_path: Path, capfd):
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    words = ["transfer", str(folder / "second.toml"), "transfer.epochs=1", "transfer.controls=[]"]
    assert dispatch([*words, "--out", str(folder / "out")]) == 0
    (folder / "first/target/dataset.h5").rename(folder / "other.h5")
    capfd.readouterr()
    assert dispatch([*words, "target.dataset=other.h5", "--out", str(folder / "out")]) == 0
    assert "transfer: complete, unchanged" in capfd.readouterr().out
