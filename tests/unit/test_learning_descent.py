"""What a training does at each step: rates of tensors, schedules, how far weights went."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eddyscope.config.errors import CaseError
from eddyscope.config.streams import stream
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.batches import Samples
from eddyscope.learning.descent import rates_of
from eddyscope.learning.models import weights_of
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.recipes import recipe_of_transfer
from eddyscope.learning.schedule import factor, passed
from eddyscope.learning.settings import Seeds, TrainingSettings, TransferSettings
from eddyscope.learning.trainer import Saved, train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World

SETTINGS = Cnn.Settings(depth=3, width=6, kernel_size=3)
RECIPE = Recipe(steps=10, batch_size=3, rate=3e-3, key=(5,))


def samples(count: int = 7) -> Samples:
    inputs = torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    return Samples(inputs, (inputs[:, :1] * inputs[:, 1:]).contiguous())


def network() -> LayeredModel:
    return build(SETTINGS, Channels.of_flow(), (2,))


def test_a_plain_recipe_is_the_plain_loop():
    """The bits of base models: Adam at one rate, batches of one permutation a pass."""
    ours, plain, data = network(), network(), samples()
    train(ours.module, data, None, RECIPE, World.single())
    plain.module.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(plain.module.parameters(), lr=3e-3)
    for step in range(10):
        order = stream("order", 5, step // 3).permutation(7)
        batch = torch.from_numpy(order[step % 3 * 3 : step % 3 * 3 + 3])
        inputs = data.inputs[batch].contiguous(memory_format=torch.channels_last)
        optimiser.zero_grad()
        error = (plain(inputs) - data.targets[batch]).square().sum()
        (error * (1 / (len(batch) * 64))).backward()
        optimiser.step()
    theirs = weights_of(plain)
    assert all(np.array_equal(array, theirs[name]) for name, array in weights_of(ours).items())


def test_cosine_rises_and_falls():
    factors = [factor("cosine", step, 100) for step in range(100)]
    assert factors[:5] == [0.2, 0.4, 0.6, 0.8, 1.0] and max(factors) == 1.0
    assert factors[5:] == sorted(factors[5:], reverse=True) and 0.0 < factors[-1] < 1e-3
    assert [factor("constant", step, 100) for step in (0, 50, 99)] == [1.0, 1.0, 1.0]
    assert passed("cosine", 7, 100) == pytest.approx(sum(factors[:7]), rel=1e-14)
    assert all(0.0 < factor("cosine", step, n) <= 1.0 for n in (1, 2, 3) for step in range(n))


def test_rates_follow_the_inputs_of_each_layer():
    model = network()
    recipe = replace(RECIPE, rate=0.02, scaled_by_fan_in=True)
    rates = rates_of(model.module, dict(model.module.named_parameters()), recipe)
    for layer, inputs in (("l01", 2 * 9), ("l02", 6 * 9), ("l03", 6 * 9)):
        names = model.parameters_of(layer)
        assert [rates[name] for name in names] == [0.02 / math.sqrt(inputs)] * 2, layer
    grouped = nn.Sequential(
        nn.Conv2d(8, 6, 3, groups=2), nn.ConvTranspose2d(6, 10, 2, groups=2), nn.BatchNorm2d(10)
    )
    rates = rates_of(grouped, dict(grouped.named_parameters()), recipe)
    assert rates["0.weight"] == rates["0.bias"] == 0.02 / math.sqrt(4 * 9)
    assert rates["1.weight"] == rates["1.bias"] == 0.02 / math.sqrt(3 * 4)
    assert rates["2.weight"] == rates["2.bias"] == pytest.approx(0.02 / 20)
    gains = ADAPTATIONS.build(ADAPTATIONS.settings("gain")).module(model, (0,))
    trained = {name: p for name, p in gains.named_parameters() if p.requires_grad}
    assert list(rates_of(gains, trained, recipe).values()) == pytest.approx([0.02 / 20] * 3)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_adam_moves_no_weight_farther_than_its_rates_add_up_to(schedule: str):
    recipe = replace(RECIPE, rate=0.02, scaled_by_fan_in=True, schedule=schedule)
    trained, before = network(), network()
    history = train(trained.module, samples(), None, recipe, World.single())
    worth = passed(schedule, 10, 10)
    expected = []
    for layer, inputs in (("l01", 18), ("l02", 54), ("l03", 54)):
        begun = before.parameters_of(layer)
        for name, after in trained.parameters_of(layer).items():
            moved = float((after - begun[name]).detach().abs().max())
            expected.append(moved / (0.02 / math.sqrt(inputs) * worth))
    assert history.travel == pytest.approx(max(expected), rel=1e-5)
    assert 0.3 < history.travel < 1.1


def test_travel_and_curves_do_not_depend_on_a_break(tmp_path: Path):
    recipe = replace(RECIPE, scaled_by_fan_in=True, schedule="cosine", evaluate_every=4)
    whole, resumed = network(), network()
    history = train(whole.module, samples(), samples(2), recipe, World.single())
    saved = Saved(tmp_path / "a.ckpt", "a")
    often = replace(recipe, checkpoint_every=7)  # within a pass, between two points of the curves
    train(network().module, samples(), samples(2), often, World.single(), saved)
    points: list[int] = []
    found = train(
        resumed.module, samples(), samples(2), often, World.single(), saved,
        lambda step, note: points.append(step),
    )  # fmt: skip
    assert points == [8, 10] and found == history and found.steps == [4, 8, 10]
    ours, theirs = weights_of(resumed), weights_of(whole)
    assert all(np.array_equal(array, theirs[name]) for name, array in ours.items())


@pytest.mark.parametrize(
    ("given", "steps", "rate", "scaled", "every"),
    [
        ({}, 100, 0.01, True, 2),
        ({"epochs": 3}, 6, 0.01, True, 2),
        ({"steps": 7, "rates": [0.5]}, 7, 0.5, True, 2),
        ({"steps": 1000, "learning_rate": 1e-3}, 1000, 1e-3, False, 10),
        ({"batch_size": 20, "rates": [3.0, 1.0, 2.0]}, 50, 2.0, True, 1),
        ({"rates": [2.0, 1.0]}, 100, 1.0, True, 2),
        ({"rates": [4.0, 1.0, 2.0, 3.0]}, 100, 2.0, True, 2),
    ],
)
def test_recipes_of_a_case(given: dict, steps: int, rate: float, scaled: bool, every: int):
    transfer = TransferSettings.model_validate(given)
    recipe = recipe_of_transfer(transfer, TrainingSettings(), Seeds(1, 2), Channels.of_flow())
    assert (recipe.steps, recipe.rate, recipe.scaled_by_fan_in) == (steps, rate, scaled)
    assert (recipe.evaluate_every, recipe.schedule) == (every, "cosine")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epochs": 3, "steps": 4}, "epochs = 3 and steps = 4 both say how long; give one"),
        ({"learning_rate": 1e-3, "rates": [0.01]}, "both say how fast; give one"),
        ({"rates": []}, "at least 1"),
        ({"rates": [0.02, 0.01, 0.02]}, "has 0.02 twice; give each value once"),
        ({"recipes": ["chosen", "chosen"]}, "has 'chosen' twice"),
    ],
)
def test_settings_that_contradict_each_other(given: dict, words: str):
    with pytest.raises((CaseError, ValueError), match=words):
        TransferSettings.model_validate(given)
