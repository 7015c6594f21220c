"""A user's network from training to the report, killed and called again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.analysis import read_analysis
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import read_model
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from in_turn import in_turn
from reliability.test_interrupted import started, wait_for
from small_networks import AWKWARD
from synthetic import make_case, write_case, write_datasets

LIMIT = 120.0
"""Seconds for one job."""

STAGES = ("train", "transfer", "advise", "evaluate", "analyze", "les")

OVERRIDES = [
    "network={kind = 'user', path = 'my_net.py', class = 'Awkward'}",
    "training.epochs=40", "training.checkpoint_every=2", "transfer.epochs=2",
    "transfer.layers=['l03']",
    "transfer.controls=['gain','all','scratch','scale',{kind='lora',rank=1}]",
    "les={duration=0.1,interval=0.05,closures=['none','base','l03','scale']}",
]  # fmt: skip


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    """A folder with a case, a network and both datasets."""
    folder = tmp_path_factory.mktemp("user")
    write_case(folder)
    (folder / "my_net.py").write_text(AWKWARD.read_text())
    write_datasets(make_case(folder, *OVERRIDES), folder / "data", World.single())
    return folder


PROGRAM = """
import sys
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
stages, *words = sys.argv[1:]
sys.exit(guard(lambda: max(dispatch([stage, *words]) for stage in stages.split(","))))
"""
"""One stage after the other, as one job."""


def command(stages: Sequence[str], folder: Path, out: Path) -> list[str]:
    words = [str(folder / "synthetic.toml"), *OVERRIDES, "--out", str(out)]
    return [sys.executable, "-c", PROGRAM, ",".join(stages), *words]


def with_data(folder: Path, out: Path) -> Path:
    out.mkdir()
    for system in ("base", "target"):
        (out / system).symlink_to(folder / "data" / system)
    return out


def test_a_user_network_goes_the_whole_way(launch, ready, tmp_path):
    out, calm = with_data(ready, tmp_path / "out"), with_data(ready, tmp_path / "calm")
    with started(2, command(["train"], ready, out)) as process:
        wait_for((out / "models" / "base.ckpt").exists, process)
    assert not (out / "models" / "base.safetensors").exists(), "it ended before it was killed"
    ended = launch(2, command(STAGES, ready, out), LIMIT)
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout
    assert launch(2, command(["train"], ready, calm), LIMIT).returncode == 0
    here, there = (load_file(folder / "models" / "base.safetensors") for folder in (out, calm))
    assert all(np.array_equal(here[name], there[name]) for name in there), "other bits"
    assert "train: going on after an interruption" in said
    assert "train: spare is no layer of the network: a forward pass never calls it" in said
    assert "analyze: no two-dimensional convolutions, so without kernels: l04" in said
    for stage in ("train", "advise", "analyze"):
        assert f"{stage}: the network does not treat all places alike" in said
    check_models(out)
    analysis = read_analysis(out / "analysis.h5")
    assert analysis.attrs["left_out"] == "l04 (ConvTranspose2d)"
    assert analysis.attrs["shift_error"] > 1e-3
    assert (out / "les" / "scale.h5").exists()
    words = [str(ready / "synthetic.toml"), *OVERRIDES, "--out", str(out)]
    assert guard(lambda: dispatch(["report", *words])) == 0  # one rank alone writes it
    assert (out / "report" / "index.html").exists()


def check_models(out: Path) -> None:
    """Frozen is frozen, what kept running statistics besides weights too."""
    base = read_model(out / "models" / "base.safetensors")
    assert base.record.kept == [
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    ]
    for name, retrained, scaled in (
        ("l03", ["l03"], set()),
        ("scale", [], {"pi"}),
        ("all", ["l01", "l02", "l03", "l04", "l05"], set()),
        ("lora(rank=1)", ["l01", "l02", "l03", "l04", "l05"], set()),
    ):
        found = read_model(ModelKey.parse(name).path(out / "models"))
        assert found.record.retrained == retrained
        assert found.weights.keys() == base.weights.keys()
        assert set(found.record.scales) == scaled
        same = [k for k in base.record.kept if np.array_equal(found.weights[k], base.weights[k])]
        assert (same == base.record.kept) == (name != "all"), f"{name}: {same}"
        network = found.record.network
        assert network.class_name == "Awkward" and len(network.source) == 64


def test_dry_run_tells_what_a_stage_would(launch, ready, tmp_path):
    words = ["run", str(ready / "synthetic.toml"), *OVERRIDES, "--out", str(tmp_path / "out")]
    other = [*words, "network.settings={outputs=2}", "--dry-run"]
    planned, ended = in_turn(launch, 2, [[*words, "--dry-run"], other], LIMIT)
    assert planned.returncode == 0 and "network: user, 5 layers" in planned.stdout
    told = "gives a tensor 1 x 2 x 16 x 16 of float32 where a real tensor 1 x 1"
    assert ended.returncode == 2 and ended.stderr.count(told) == 1, ended.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("network.class='Awkwardd'", "did you mean Awkward?"),
        ("network.settings={widht=2}", "cannot be made with {'widht': 2} (TypeError"),
        ("transfer.layers=['l06']", "no layer 'l06': the network has l01 … l05"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_case_is_read(ready, override, words):
    with pytest.raises(CaseError) as error:
        make_case(ready, *OVERRIDES, override)
    assert words in str(error.value)
