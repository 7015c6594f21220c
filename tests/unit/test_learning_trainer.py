"""What a recipe may ask of training: how it computes, which weights it keeps, what it writes, how
it ends early. Everything about ranks is in `tests/mpi/`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eddyscope.artefacts.tensor_file import read_tensors
from eddyscope.config.arrays import RealArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import Samples
from eddyscope.learning.checkpoint import FORMAT
from eddyscope.learning.history import History
from eddyscope.learning.logs import LOGS
from eddyscope.learning.losses import LOSSES
from eddyscope.learning.models import weights_of
from eddyscope.learning.recipe import Parities, Recipe
from eddyscope.learning.retrain import metrics_of
from eddyscope.learning.trainer import Saved, mean_loss, train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.failure import BlewUp, CannotWrite, StoppedEarly
from eddyscope.parallel.world import World

ONE = Channels.of_flow()
RECIPE = Recipe(steps=9, batch_size=3, rate=3e-3, key=(5,))
JSONL = LOGS.settings("jsonl")


def samples(count: int = 7, seed: int = 3) -> Samples:
    inputs = torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Samples(inputs, (inputs[:, :1] * inputs[:, 1:]).contiguous())


def network() -> LayeredModel:
    return build(Cnn.Settings(depth=3, width=6, kernel_size=3), ONE, (2,))


def trained(
    recipe: Recipe = RECIPE, saved: Saved | None = None, **more: object
) -> tuple[dict[str, RealArray], History]:
    model = network()
    data = more.pop("samples", samples()), samples(4, seed=9)
    history = train(model.module, *data, recipe, World.single(), saved, **more)
    return weights_of(model), history


def difference(ours: dict[str, RealArray], theirs: dict[str, RealArray]) -> float:
    """Of what two trainings changed, the largest."""
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)


@pytest.fixture(scope="module")
def plain() -> dict[str, RealArray]:
    return trained()[0]


MOVED = 9 * 3e-3 * 0.3
"""Weights move farther than this in RECIPE."""


@pytest.mark.parametrize("pieces", [2, 3, 5])
def test_a_batch_in_pieces_is_the_same_to_rounding(pieces: int, plain):
    found, _ = trained(replace(RECIPE, accumulate=pieces))
    assert 0.0 < difference(found, plain) < 1e-3 * MOVED
    assert difference(plain, weights_of(network())) > MOVED


@pytest.mark.parametrize(("precision", "least", "most"), [("tf32", 0.0, 0.0), ("bf16", 1e-5, 0.02)])
def test_precision(precision: str, least: float, most: float, plain):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    found, history = trained(replace(RECIPE, precision=precision))
    after = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    assert least <= difference(found, plain) <= most and found["l01.weight"].dtype == "float32"
    assert after[1] == before[1] and history.train[-1] < history.train[0]


def test_reproducible_is_the_same_gradient(plain):
    found, history = trained(replace(RECIPE, reproducible=True))
    assert 0.0 < difference(found, plain) < 1e-3 * MOVED
    assert history.train == pytest.approx(trained()[1].train, rel=1e-5)


def test_batch_statistics_are_not_reproducible():
    module = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    recipe = replace(RECIPE, reproducible=True)
    with pytest.raises(CaseError, match=r"keeps statistics of whole batches \(1.running_mean\)"):
        train(module, samples(), None, recipe, World.single())
    module.eval()  # then they are kept as they are, and each sample stands by itself
    train(module, samples(), None, recipe, World.single())


def test_what_cannot_be_compiled_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object, **__: object) -> nn.Module:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore\nof it")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(CaseError) as error:
        trained(replace(RECIPE, compile=True))
    assert "No working C++ compiler found" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", LOSSES.entries)
def test_every_loss_is_learnt(kind: str):
    loss = LOSSES.build(LOSSES.settings(kind), ONE)
    _, history = trained(replace(RECIPE, loss=loss, steps=60, rate=1e-2))
    assert history.train[-1] < 0.8 * history.train[0]
    assert history.validation[-1] < history.validation[0]


def test_noise_and_reflections_change_what_is_seen(plain):
    for change in ({"noise": 0.1}, {"reflections": Parities.of(ONE)}, {"rotations": True}):
        assert difference(trained(replace(RECIPE, **change))[0], plain) > 1e-4, change


def test_the_best_weights_are_kept(tmp_path: Path):
    """At this rate the validation loss rises again after its least."""
    recipe = replace(RECIPE, steps=30, rate=0.05, keep="best", checkpoint_every=25)
    found, history = trained(recipe, Saved(tmp_path / "a.ckpt", "a"))
    assert history.best is not None and history.best < len(history.validation) - 1
    assert history.validation[history.best] == min(history.validation)
    told = metrics_of(history, 7, 1, World.single())
    assert told["validation_loss"] == min(history.validation)
    assert told["train_loss"] == history.train[history.best]
    model = network()
    steps = history.steps[history.best]
    train(model.module, samples(), None, replace(recipe, steps=steps, keep="last"), World.single())
    assert difference(found, weights_of(model)) == 0.0
    resumed, again = trained(recipe, Saved(tmp_path / "a.ckpt", "a"))
    assert again == history and difference(resumed, found) == 0.0


def test_a_line_of_json_a_point(tmp_path: Path):
    saved = Saved(tmp_path / "l02.ckpt", "a", logs=[JSONL])
    recipe = replace(RECIPE, schedule="cosine", checkpoint_every=4)
    _, history = trained(recipe, saved)
    path = tmp_path / "l02.metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == history.steps == [3, 6, 9]
    assert [line["loss"] for line in lines] == history.train
    assert [line["validation"] for line in lines] == history.validation
    assert lines[0]["rate"] > lines[2]["rate"] > 0.0
    # It goes on from step 8: what was written after it, or half, is written anew.
    with path.open("a") as file:
        file.write('{"step": 12, "loss": 1.0}\n{"step": 1')
    _, again = trained(recipe, saved)
    now = [json.loads(line) for line in path.read_text().splitlines()]
    assert again == history and [line["step"] for line in now] == [3, 6, 9]
    assert now[:2] == lines[:2]


def test_a_log_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "l02.metrics.jsonl").mkdir()
    with pytest.raises(CannotWrite, match=r"l02\.metrics\.jsonl"):
        trained(RECIPE, Saved(tmp_path / "l02.ckpt", "a", logs=[JSONL]))


def test_tensorboard_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    saved = Saved(tmp_path / "a.ckpt", "a", logs=[LOGS.settings("tensorboard")])
    with pytest.raises(CaseError, match="the package tensorboard is not installed"):
        trained(RECIPE, saved)


def test_a_loss_that_is_not_finite_moves_no_weight(tmp_path: Path):
    poisoned = samples()
    poisoned.inputs[4] = float("nan")
    model, before = network(), network()
    saved = Saved(tmp_path / "a.ckpt", "a")
    with pytest.raises(BlewUp, match="no longer finite at step 1, in epoch 1") as error:
        train(model.module, Samples(poisoned.inputs[4:5], poisoned.targets[4:5]), None, RECIPE,
              World.single(), saved)  # fmt: skip
    assert "\n" not in str(error.value)
    assert difference(weights_of(model), weights_of(before)) == 0.0
    arrays, texts = read_tensors(saved.path, FORMAT, "checkpoint")
    assert texts["step"] == "0"
    for name, weight in weights_of(before).items():
        assert np.array_equal(arrays[f"{name}/value"], weight)


class Asked:
    """Asks to stop after so many steps."""

    by = "USR1"

    def __init__(self, steps: int):
        self.left = steps

    def pending(self) -> bool:
        self.left -= 1
        return self.left <= 0

    def any(self) -> bool:
        return self.left <= 0


@pytest.mark.parametrize("change", [
    {"rotations": True, "noise": 0.1, "accumulate": 2, "schedule": "cosine"},
    {"reproducible": True, "reflections": Parities.of(ONE), "keep": "best", "evaluate_every": 2},
])  # fmt: skip
def test_a_training_stopped_at_every_step_has_the_same_bits(change: dict, tmp_path: Path):
    recipe = replace(RECIPE, **change)
    whole, history = trained(recipe)
    saved = Saved(tmp_path / "a.ckpt", "a", logs=[JSONL])
    for step in range(1, 9):
        with pytest.raises(StoppedEarly, match=f"at step {step} of 9, as asked by USR1"):
            trained(recipe, saved, requests=Asked(1))
    found, again = trained(recipe, saved, requests=Asked(1))  # too late: it is done
    assert difference(found, whole) == 0.0 and again == history
    lines = (tmp_path / "a.metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == history.steps


def test_checkpoints_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved = Saved(tmp_path / "a.ckpt", "a", seconds=0.0)
    seen: list[int] = []
    report: Callable[[int, str], None] = lambda step, note: seen.append(saved.path.exists())  # noqa: E731
    trained(RECIPE, replace(saved, seconds=1e9), report=report)
    assert not any(seen)
    monkeypatch.setattr("eddyscope.learning.checkpoint.WAIT_FOR_COST", 0.0)
    trained(RECIPE, saved, report=report)
    assert seen[-1] and read_tensors(saved.path, FORMAT, "checkpoint")[1]["step"] == "8"


def test_mean_loss_in_parts_is_the_mean():
    model, data = network(), samples(11)
    with torch.no_grad():
        expected = float((model(data.inputs) - data.targets).double().square().mean())
    for parts in (1, 3, 8, 20):
        found = mean_loss(model.module, data, 2, World.single(), parts=parts)
        assert found == pytest.approx(expected, rel=1e-6)
