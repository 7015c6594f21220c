"""Scores of layers: exact where the answer is known, right where an answer is planted."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from eddyscope.advisor.linearised import Fit, LayerJacobian, folds_of, linearised_gain
from eddyscope.advisor.ranking import SCORES, rank_layers
from eddyscope.advisor.settings import AdviseSettings
from eddyscope.learning.batches import Samples
from eddyscope.networks.closure_network import ClosureNetwork
from eddyscope.networks.cnn import Cnn
from eddyscope.parallel.world import World

SETTINGS = Cnn.Settings(depth=4, width=6, kernel_size=3)


def inputs(count: int = 3, n: int = 12, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 2, n, n, generator=torch.Generator().manual_seed(seed))


def network(seed: int = 0) -> ClosureNetwork:
    return ClosureNetwork(SETTINGS, (seed,)).requires_grad_(False)


def random_direction(base: ClosureNetwork, name: str, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    layer = base.layer(name)
    return {k: torch.randn(p.shape, generator=generator).to(p) for k, p in layer.named_parameters()}


@pytest.mark.parametrize("name", ["l01", "l03", "l04"])
def test_jacobian_is_the_derivative(name: str):
    base, x = network().double(), inputs().double()
    jacobian = LayerJacobian(base, name, x)
    direction = random_direction(base, name, 7)
    step = 1e-7  # small enough that no ReLU changes its mind
    moved = {k: jacobian.point[k] + step * direction[k] for k in direction}
    difference = (base.output_from(name, jacobian.given, moved) - base(x)) / step
    torch.testing.assert_close(jacobian.times(direction), difference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["l01", "l02", "l04"])
def test_jacobian_and_its_transpose_are_adjoint(name: str):
    base = network().double()
    jacobian = LayerJacobian(base, name, inputs().double())
    direction = random_direction(base, name, 8)
    cotangent = torch.randn(3, 1, 12, 12, generator=torch.Generator().manual_seed(9)).double()
    left = (jacobian.times(direction) * cotangent).sum()
    right = sum((direction[k] * v).sum() for k, v in jacobian.transposed(cotangent).items())
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


def test_fit_of_the_last_layer_is_the_least_squares_one():
    """The output is linear in its weights, so conjugate gradients must end at lstsq's answer."""
    base, x = network().double(), inputs(4).double()
    targets = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(2)).double()
    jacobian = LayerJacobian(base, "l04", x)
    error = targets - jacobian.output
    mask = folds_of(error)[1]  # holds out the second sample
    fit = Fit(jacobian, error, mask)
    for _ in range(300):
        fit.step()
    padded = torch.nn.functional.pad(base.input_of("l04", x), (1, 1, 1, 1), mode="circular")
    columns = torch.nn.functional.unfold(padded, 3).transpose(1, 2)  # (sample, point, weight)
    columns = torch.cat([columns, torch.ones_like(columns[..., :1])], dim=2)
    inside = [0, 2, 3]
    fitted, wanted = columns[inside].flatten(0, 1), error.flatten(1)[inside].flatten()
    d = torch.linalg.lstsq(fitted, wanted[:, None]).solution[:, 0]
    expected = error.flatten(1) - columns @ d
    torch.testing.assert_close(fit.residual.flatten(1), expected, rtol=0, atol=1e-3)
    best = float((wanted - fitted @ d).square().sum())
    assert float((fit.residual * mask).square().sum()) == pytest.approx(best, rel=1e-6)


def test_every_sample_is_held_out_once():
    for count in (2, 3, 4, 9):
        masks = folds_of(torch.zeros(count, 1, 6, 6))
        held_out = sum((1 - m).broadcast_to(count, 1, 6, 6) for m in masks)
        assert torch.equal(held_out, torch.ones(count, 1, 6, 6)) and len(masks) == min(count, 4)
    halves = folds_of(torch.zeros(1, 1, 6, 6))
    assert len(halves) == 2 and torch.equal(halves[0], 1 - halves[1])


@pytest.mark.parametrize("planted", ["l01", "l02", "l03", "l04"])
def test_planted_layer_is_found(planted: str):
    """The truth is the base network with one layer changed: changing it back is best."""
    base = network(3)
    truth = copy.deepcopy(base)
    change = random_direction(base, planted, 5)
    with torch.no_grad():
        for key, parameter in truth.layer(planted).named_parameters():
            parameter.add_(0.1 * change[key] * parameter.norm() / change[key].norm())
    x = inputs(4, 24)
    ranking = rank_layers(base, Samples(x, truth(x)), AdviseSettings(), World.single())
    gain = ranking["linearised_gain"]
    assert gain.layers[0] == planted and gain.values[planted] > 0.8
    assert gain.values[planted] > 1.1 * gain.values[gain.layers[1]] or gain.values[planted] > 0.95


def test_noise_offers_no_gain():
    """What no layer can learn scores nothing on held-out samples, however well it is fitted."""
    base, x = network(), inputs(4, 16)
    noise = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(11))
    samples = Samples(x, base(x) + noise)
    for name in base.names:
        value, curves = linearised_gain(base, samples, name, AdviseSettings())
        assert value < 0.03 < np.nanmax(curves["fitted"])


def test_one_sample_is_enough_to_ask():
    base, x = network(), inputs(1, 16)
    samples = Samples(x, 2.0 * base(x))
    value, _ = linearised_gain(base, samples, "l04", AdviseSettings())
    assert value > 0.9  # doubling the last layer's weights is all that is needed


def test_relative_gradient_is_what_it_says():
    base, x = network(), inputs()
    targets = torch.zeros(3, 1, 12, 12)
    value, _ = SCORES["relative_gradient"](base, Samples(x, targets), "l02", AdviseSettings())
    whole = copy.deepcopy(base).requires_grad_(True)
    whole(x).square().mean().backward()
    layer = list(whole.layer("l02").parameters())
    gradient = torch.cat([p.grad.flatten() for p in layer]).norm()
    size = torch.cat([p.detach().flatten() for p in layer]).norm()
    assert value == pytest.approx(float(gradient / size), rel=1e-5)


def test_ranking_is_best_first_and_complete():
    base, x = network(), inputs()
    settings = AdviseSettings(iterations=3)
    rankings = rank_layers(base, Samples(x, base(x) + 0.1 * x[:, :1]), settings, World.single())
    assert rankings.keys() == {"relative_gradient", "linearised_gain"}
    for ranking in rankings.values():
        values = [ranking.values[name] for name in ranking.layers]
        assert values == sorted(values, reverse=True) and set(ranking.layers) == set(base.names)
        assert ranking.seconds > 0
