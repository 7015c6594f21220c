"""The probe: short re-trainings from where three scales leave the base network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eddyscope.advisor.ranking import Ranking, rank_layers
from eddyscope.advisor.reason import reason
from eddyscope.advisor.scores.base import Evidence
from eddyscope.advisor.scores.registry import SCORES
from eddyscope.advisor.start import start_of
from eddyscope.learning.adaptations.scaled import Scaled, fit_inputs
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS, build
from eddyscope.parallel.world import World
from small_networks import ONE, small_network


def model_of(kind: str = "cnn", **settings: int) -> LayeredModel:
    model = build(NETWORKS.settings(kind, **settings), ONE, (7,), n=16)
    model.module.eval()
    return model


def inputs_of(count: int, n: int = 16) -> torch.Tensor:
    """Smooth fields of about unit variance."""
    generator = torch.Generator().manual_seed(count)
    white = torch.fft.rfft2(torch.randn(count, 2, n, n, generator=generator))
    k = torch.fft.fftfreq(n, 1.0 / n)
    squares = k[:, None] ** 2 + k[None, : n // 2 + 1] ** 2
    smooth = torch.fft.irfft2(white * torch.exp(-squares / 16.0))
    return smooth / smooth.std()


def answered(model: LayeredModel, inputs: torch.Tensor) -> Samples:
    with torch.no_grad():
        return Samples(inputs, model(inputs))


def ranking_of(model: LayeredModel, samples: Samples, **settings: float) -> Ranking:
    probe = SCORES.build(SCORES.settings("probe", **settings))
    return rank_layers(model, Evidence(samples), {"probe": probe}, World.single())["probe"]


@torch.no_grad()
def damaged(model: LayeredModel, layer: str) -> LayeredModel:
    """With noise of 0.4 times its weights' size in one layer."""
    other = model.copy()
    weight = next(iter(other.parameters_of(layer).values()))
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    weight += 0.4 * weight.std() * noise
    return other


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("cnn", {"depth": 5, "width": 8, "kernel_size": 5}), ("unet", {"width": 6})],
)
def test_the_damaged_layer_comes_first(kind: str, settings: dict[str, int]):
    """For every layer: the target is what the network gave before that layer was damaged."""
    whole = model_of(kind, **settings)
    samples = answered(whole, inputs_of(16))
    for layer in whole.layers:
        ranking = ranking_of(damaged(whole, layer), samples)
        assert ranking.groups[0] == [layer], (layer, ranking.values)


def test_what_one_factor_repairs_promises_nothing():
    model = model_of(depth=3, width=4)
    samples = answered(model, inputs_of(8))
    start = start_of(model, Samples(samples.inputs * 2.0, samples.targets * 3.0))
    assert start.floor < 1e-9 < start.untouched
    ranking = ranking_of(model, Samples(samples.inputs, samples.targets * 3.0))
    assert ranking.promises_nothing, ranking.values


def test_errors_are_over_the_mean_square_of_the_targets():
    model = model_of(depth=3, width=4)
    inputs = inputs_of(6)
    targets = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(5))
    start = start_of(model, Samples(inputs, targets))
    with torch.no_grad():
        given = torch.tensor([start.scales[name] for name in ONE.inputs]).reshape(1, -1, 1, 1)
        output = model(inputs * given) * start.scales["pi"]
        expected = (output - targets).square().mean() / targets.square().mean()
        untouched = (model(inputs) - targets).square().mean() / targets.square().mean()
    assert start.floor == pytest.approx(float(expected), rel=1e-5)
    assert start.untouched == pytest.approx(float(untouched), rel=1e-5)
    assert start.floor < start.untouched


def test_rough_scales_leave_what_precise_ones_do():
    model = model_of(depth=4, width=8)
    samples = answered(damaged(model, "l02"), inputs_of(8))
    given = Samples(samples.inputs * torch.tensor([0.5, 1.6]).reshape(1, 2, 1, 1), samples.targets)
    precise = Scaled(model, inputs=True, each_output=True)
    fit_inputs(precise, given, 8)
    with torch.no_grad():
        wrong = precise(given.inputs) - given.targets
    floor = float(wrong.square().mean() / given.targets.square().mean())
    start = start_of(model, given)
    assert floor == pytest.approx(start.floor, rel=0.02) and floor < 0.7 * start.untouched


def test_a_rate_that_raises_the_error_is_halved():
    model = model_of(depth=4, width=8)
    samples = answered(damaged(model, "l02"), inputs_of(8))
    ranking = ranking_of(model, samples, rate=50.0)
    assert ranking.values["l02"] > 0.0


def test_samples_tell_ties():
    model = build(small_network("cnn"), ONE, (1,), n=8)
    model.module.eval()
    inputs = torch.randn(8, 2, 8, 8, generator=torch.Generator().manual_seed(2))
    noise = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    ranking = ranking_of(model, Samples(inputs, noise))
    for layer, parts in ranking.parts.items():
        assert len(parts) == 8
        assert ranking.values[layer] == pytest.approx(float(parts.mean()))
    same = {name: np.array([0.1, 0.2, 0.3]) + 0.01 * place for place, name in enumerate("ab")}
    values = {name: float(parts.mean()) for name, parts in same.items()}
    assert Ranking(values, parts=same).groups == [["b"], ["a"]], (
        "the same difference in each sample"
    )
    mixed = {"a": np.array([0.1, 0.2, 0.3]), "b": np.array([0.3, 0.1, 0.23])}
    values = {name: float(parts.mean()) for name, parts in mixed.items()}
    alike = Ranking(values, parts=mixed)
    assert alike.groups == [["a", "b"]]
    words = reason("probe", SCORES.build(SCORES.settings("probe")), alike, 3)
    assert "there is no advice: a and b (20.0%) are not told apart by these samples" in words
