"""Scores of layers: exact where the answer is known, right where an answer is planted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from eddyscope.advisor.advice import advice_of, curves_of
from eddyscope.advisor.jacobian import LayerJacobian, Parameters
from eddyscope.advisor.least_squares import HeldOutFit, fold_masks
from eddyscope.advisor.ranking import Ranking, rank_layers
from eddyscope.advisor.reason import reason
from eddyscope.advisor.scores.base import Evidence, LayerScore
from eddyscope.advisor.scores.registry import SCORES
from eddyscope.advisor.start import start_of
from eddyscope.learning.batches import Samples
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.layers import find_layers
from eddyscope.networks.registry import NETWORKS, build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World

ONE = Channels.of_flow()

SETTINGS = Cnn.Settings(depth=4, width=6, kernel_size=3)


def inputs(count: int = 3, n: int = 12, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 2, n, n, generator=torch.Generator().manual_seed(seed))


class Skipping(nn.Module):
    """A smooth nonlinearity, a skip connection, a layer used twice, one that is no convolution,
    and one without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular", bias=False)
        self.shared = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.norm = nn.GroupNorm(2, 4)
        self.last = nn.Conv2d(6, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = nn.functional.gelu(self.first(x))
        h = nn.functional.gelu(self.norm(self.shared(h) + h))
        return self.last(torch.cat([self.shared(h), x], dim=1))


def skipping() -> LayeredModel:
    torch.manual_seed(4)
    module = Skipping()
    names = ("first", "shared", "norm", "last")
    layers = {f"l0{i}": module.get_submodule(name) for i, name in enumerate(names, start=1)}
    return LayeredModel(module, layers, SETTINGS, ONE)


class Tied(nn.Module):
    """Weights that are used outside of their layer too, a change in place, a layer not met in
    the order in which it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.ConvTranspose2d(4, 1, 2, stride=2)
        self.down = nn.Conv2d(2, 4, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.down(x)
        h += x[..., ::2, ::2].sum(dim=1, keepdim=True)
        back = nn.functional.conv_transpose2d(h, self.down.weight, stride=2)
        return self.last(torch.tanh(h)) + back.sum(dim=1, keepdim=True)


class Attending(nn.Module):
    """Attention between points, which torch computes in ways of its own where it is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        points = self.block(h.flatten(2).transpose(1, 2))
        return self.last(points.transpose(1, 2).reshape(h.shape))


def attending() -> LayeredModel:
    torch.manual_seed(6)
    module = Attending().eval()
    return LayeredModel(module, find_layers(module, inputs()).layers, SETTINGS, ONE)


def tied() -> LayeredModel:
    torch.manual_seed(5)
    module = Tied()
    return LayeredModel(module, {"l01": module.down, "l02": module.last}, SETTINGS, ONE)


def network(seed: int = 0) -> LayeredModel:
    return build(SETTINGS, ONE, (seed,))


MODELS: dict[str, Callable[[], LayeredModel]] = {
    "skipping": skipping,
    "tied": tied,
    "attending": attending,
    "cnn": network,
    "unet": lambda: build(NETWORKS.settings("unet", width=3), ONE, (1,)),
}

EVERY_LAYER = [(kind, name) for kind, make in MODELS.items() for name in make().layers]


def in_double(model: LayeredModel) -> LayeredModel:
    copied = model.copy()
    copied.module.double().requires_grad_(False)
    return copied


def random_direction(model: LayeredModel, name: str, seed: int) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    own = model.parameters_of(name).items()
    return {k: torch.randn(p.shape, generator=generator).to(p.detach()) for k, p in own}


def scored(score: str, model: LayeredModel, samples: Samples, name: str, **settings) -> LayerScore:
    made = SCORES.build(SCORES.settings(score, **settings))
    start = start_of(model, samples) if made.scales_first else None
    return made.of_layer(model, Evidence(samples, start=start), name)


def ranked(model: LayeredModel, samples: Samples, **settings) -> dict[str, Ranking]:
    scores = {name: SCORES.build(SCORES.settings(name)) for name in SCORES}
    scores["linearised_gain"] = SCORES.build(SCORES.settings("linearised_gain", **settings))
    return rank_layers(model, Evidence(samples), scores, World.single())


@pytest.mark.parametrize(("kind", "name"), EVERY_LAYER)
def test_jacobian_is_the_derivative(kind: str, name: str):
    model, x = in_double(MODELS[kind]()), inputs().double()
    jacobian = LayerJacobian(model, name, x)
    direction = random_direction(model, name, 7)
    step = 1e-6  # small enough that no ReLU changes its mind
    moved, back = (
        torch.func.functional_call(
            model.module, {k: p + sign * step * direction[k] for k, p in jacobian.point.items()}, x
        )
        for sign in (1, -1)
    )
    product = jacobian.times(direction)
    torch.testing.assert_close(product, (moved - back) / (2 * step), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(jacobian.output, model(x))
    torch.testing.assert_close(product, jacobian.times(direction), rtol=0, atol=0)
    assert "forward" not in model.layers[name].__dict__, "layers are as they were"


@pytest.mark.parametrize(("kind", "name"), EVERY_LAYER)
def test_jacobian_and_its_transpose_are_adjoint(kind: str, name: str):
    model = in_double(MODELS[kind]())
    jacobian = LayerJacobian(model, name, inputs().double())
    direction = random_direction(model, name, 8)
    cotangent = torch.randn(3, 1, 12, 12, generator=torch.Generator().manual_seed(9)).double()
    left = (jacobian.times(direction) * cotangent).sum()
    right = sum((direction[k] * v).sum() for k, v in jacobian.transposed(cotangent).items())
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["l01", "l02", "l04"])
def test_jacobian_of_a_chain_is_the_product_of_masked_convolutions(name: str):
    """Of a chain with ReLUs everything after the layer is linear, where each mask is fixed."""
    model, x = network(), inputs()
    model.module.requires_grad_(False)
    jacobian, direction = LayerJacobian(model, name, x), random_direction(network(), name, 6)
    calls = {call.name: call for call in model.recorded(x)}
    weight, bias = direction.values()

    def convolved(field: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(field, (1, 1, 1, 1), mode="circular")
        return nn.functional.conv2d(padded, kernel)

    change = convolved(calls[name].input, weight) + bias[:, None, None]
    names = list(model.layers)
    for before, later in pairwise(names[names.index(name) :]):
        mask = (calls[before].output > 0).to(change)
        change = convolved(change * mask, model.layers[later].weight)
    rounding = {"rtol": 1e-4, "atol": 1e-5}  # of sums over a hundred products in single precision
    torch.testing.assert_close(jacobian.times(direction), change, **rounding)


def test_fit_of_the_last_layer_is_the_least_squares_one():
    """The output is linear in its weights, so conjugate gradients must end at lstsq's answer."""
    base, x = in_double(network()), inputs(4).double()
    targets = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(2)).double()
    jacobian = LayerJacobian(base, "l04", x)
    error = targets - jacobian.output
    fit = HeldOutFit(jacobian, error)
    for _ in range(300):
        fit.step()
    given = base.recorded(x)[-1].input
    padded = torch.nn.functional.pad(given, (1, 1, 1, 1), mode="circular")
    columns = torch.nn.functional.unfold(padded, 3).transpose(1, 2)  # (sample, point, weight)
    columns = torch.cat([columns, torch.ones_like(columns[..., :1])], dim=2)
    for fold, inside in enumerate(([1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2])):
        fitted, wanted = columns[inside].flatten(0, 1), error.flatten(1)[inside].flatten()
        d = torch.linalg.lstsq(fitted, wanted[:, None]).solution[:, 0]
        expected = error.flatten(1) - columns @ d
        found = fit.residual[fold].flatten(1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
        best = float((wanted - fitted @ d).square().sum())
        left = float((fit.residual * fit.masks)[fold].square().sum())
        assert left == pytest.approx(best, rel=1e-6)


def test_every_sample_is_held_out_once():
    for count in (2, 3, 4, 9):
        masks = fold_masks(torch.zeros(count, 1, 6, 6))
        held_out = sum((1 - m).broadcast_to(count, 1, 6, 6) for m in masks)
        assert torch.equal(held_out, torch.ones(count, 1, 6, 6)) and len(masks) == min(count, 4)
    halves = fold_masks(torch.zeros(1, 1, 6, 6))
    assert len(halves) == 2 and torch.equal(halves[0], 1 - halves[1])


@pytest.mark.parametrize("kind", ["cnn", "unet"])
@pytest.mark.parametrize("planted", ["l01", "l02", "l03", "l04"])
def test_planted_layer_is_found(kind: str, planted: str):
    """The truth is the base network with one layer changed: changing it back is best."""
    base = network(3) if kind == "cnn" else MODELS[kind]()
    truth = base.copy()
    change = random_direction(base, planted, 5)
    with torch.no_grad():
        for key, parameter in truth.parameters_of(planted).items():
            parameter.add_(0.1 * change[key] * parameter.norm() / change[key].norm())
    x = inputs(4, 24)
    found = ranked(base, Samples(x, truth(x).detach()))["linearised_gain"]
    assert found.layers[0] == planted and found.values[planted] > (0.8 if kind == "cnn" else 0.7)
    second = found.values[found.layers[1]]
    assert found.values[planted] > 1.1 * second or found.values[planted] > 0.95


def test_noise_offers_no_gain():
    """What no layer can learn scores nothing on held-out samples, however well it is fitted."""
    base, x = network(), inputs(4, 16)
    noise = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(11))
    samples = Samples(x, base(x).detach() + noise)
    for name in base.layers:
        found = scored("linearised_gain", base, samples, name)
        assert found.value < 0.03 < np.nanmax(found.curves["fitted"].values)


def test_one_sample_is_enough_to_ask():
    base, x = network(), inputs(1, 16)
    samples = Samples(x, 2.0 * base(x).detach())
    # Doubling the last layer's weights is all that is needed.
    assert scored("linearised_gain", base, samples, "l04").value > 0.9


def test_relative_gradient_is_what_it_says():
    base, x = network(), inputs()
    found = scored("relative_gradient", base, Samples(x, torch.zeros(3, 1, 12, 12)), "l02")
    whole = base.copy()
    whole(x).square().mean().backward()
    layer = list(whole.layers["l02"].parameters())
    gradient = torch.cat([p.grad.flatten() for p in layer]).norm()
    size = torch.cat([p.detach().flatten() for p in layer]).norm()
    assert found.value == pytest.approx(float(gradient / size), rel=1e-5)


def test_ranking_is_best_first_and_complete():
    base, x = network(), inputs()
    rankings = ranked(base, Samples(x, base(x).detach() + 0.1 * x[:, :1]), iterations=3)
    assert list(rankings) == list(SCORES)
    for ranking in rankings.values():
        values = [ranking.values[group[0]] for group in ranking.groups if not ranking.parts]
        assert values == sorted(values, reverse=True) and set(ranking.layers) == set(base.layers)
        assert ranking.seconds > 0 and (ranking.parts or ranking.ties == [])
    assert all(p.requires_grad for p in base.module.parameters()), "the network is as it was"


# --- What gives no order -----------------------------------------------------------------


def test_a_layer_of_zeros_has_no_relative_gradient():
    base, x = network(), inputs()
    with torch.no_grad():
        for parameter in base.layers["l02"].parameters():
            parameter.zero_()
    rankings = ranked(base, Samples(x, x[:, :1]), iterations=3)
    values = rankings["relative_gradient"].values
    assert np.isnan(values["l02"]) and np.isfinite([values[n] for n in ("l01", "l03")]).all()
    assert rankings["relative_gradient"].layers[-1] == "l02"
    assert np.isfinite(list(rankings["linearised_gain"].values.values())).all()
    text = told(rankings["relative_gradient"], "relative_gradient")
    assert "It is not defined for l02." in text


def told(ranking: Ranking, score: str = "linearised_gain") -> str:
    return reason(score, SCORES.build(SCORES.settings(score)), ranking, 2)


@pytest.mark.parametrize("score", [*SCORES])
def test_without_an_error_all_layers_are_equal(score: str):
    base, x = network(), inputs()
    ranking = ranked(base, Samples(x, base(x).detach()), iterations=3)[score]
    assert list(ranking.values.values()) == [0.0] * 4
    assert ranking.ties == [["l01", "l02", "l03", "l04"]]
    words = told(ranking, score)
    assert "there is no advice: l01, l02, l03 and l04" in words and "promise nothing" in words
    assert "first" not in words


@pytest.mark.parametrize("score", [*SCORES])
def test_a_network_of_zeros_and_fields_of_zeros_are_scored(score: str):
    base = network()
    with torch.no_grad():
        for parameter in base.module.parameters():
            parameter.zero_()
    x = inputs()
    for samples in (Samples(x, x[:, :1]), Samples(0 * x, 0 * x[:, :1])):
        ranking = ranked(base, samples, iterations=3)[score]
        assert len(ranking.layers) == 4 and told(ranking, score)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("score", [*SCORES])
def test_constant_fields_are_scored(score: str, count: int):
    """All power of the error is in the mean, so no shell has any to remove."""
    base = network()
    x = torch.ones(count, 2, 12, 12)
    samples = Samples(x, 3.0 * torch.ones(count, 1, 12, 12))
    found = scored(score, base, samples, "l04")
    assert np.isfinite(found.value)
    for curve in found.curves.values():
        assert not np.isinf(curve.values).any()
        assert np.nanmax(np.abs(curve.values), initial=0.0) < 9.0


def test_a_network_of_one_layer_is_scored():
    layer = nn.Conv2d(2, 1, 3, padding=1, padding_mode="circular", bias=False)
    model = LayeredModel(nn.Sequential(layer), {"l01": layer}, SETTINGS, ONE)
    x = inputs()
    rankings = ranked(model, Samples(x, 2 * model(x).detach()), iterations=3)
    for score, ranking in rankings.items():
        assert ranking.layers == ["l01"] and ranking.ties == []
        assert "l01" in told(ranking, score) and "is the only layer" in told(ranking, score)


@pytest.mark.parametrize(
    ("values", "groups", "words"),
    [
        ({"l01": 0.2, "l02": 0.3, "l03": 0.2}, [["l02"], ["l01", "l03"]], "apart l01 and l03"),
        (
            {"l01": 0.2, "l02": 0.2 + 1e-9, "l03": 0.1},
            [["l01", "l02"], ["l03"]],
            "l02 (20.0%) come",
        ),
        ({"l01": 0.0, "l02": 1e-12}, [["l01", "l02"]], "no advice: l01 and l02 (0.0%) promise"),
        ({"l01": 0.0, "l02": 4e-4}, [["l01", "l02"]], "no advice: l01 and l02 (0.0%) promise"),
        (
            {"l01": 0.0, "l02": 0.1, "l03": 4e-4},
            [["l02"], ["l01", "l03"]],
            "apart l01 and l03",
        ),
        ({"l01": 0.2, "l02": 0.2}, [["l01", "l02"]], "no advice: l01 and l02 (20.0%) are equal"),
        ({"l01": np.nan, "l02": 0.1, "l03": np.nan}, [["l02"], ["l01", "l03"]], "l01 and l03"),
        ({"l01": np.nan, "l02": np.inf}, [["l01", "l02"]], "gives no advice"),
        ({"l01": -0.1, "l02": -0.2}, [["l01", "l02"]], "no advice"),
    ],
)
def test_equals_are_never_ordered(values: dict, groups: list, words: str):
    ranking = Ranking(values, least=SCORES["linearised_gain"].least)
    assert ranking.groups == groups and words in told(ranking)
    assert ranking.ties == [group for group in groups if len(group) > 1]


def test_one_sample_is_called_one_and_layers_as_their_user_calls_them():
    """Of a lone sample there are no other samples, but another half."""
    score = SCORES.build(SCORES.settings("linearised_gain"))
    ranking = Ranking({"l01": 0.1, "l02": 0.3}, least=score.least)
    words = reason("gain", score, ranking, 1, {"l01": "enc.0", "l02": "dec"})
    assert "on data it was not fitted to) on 1 target sample, l02 dec (30.0%)" in words
    assert "samples" not in words and "l01 enc.0 (10.0%)" in words


def test_advice_says_what_rankings_say():
    base, x = network(), inputs()
    samples = Samples(x, base(x).detach() + 0.1 * x[:, :1])
    rankings = ranked(base, samples, iterations=3)
    scores = {name: SCORES.build(SCORES.settings(name)) for name in SCORES}
    advice = advice_of(scores, rankings, "relative_gradient", 3, "dimensional")
    assert advice.by_default.ranking == rankings["relative_gradient"].layers
    assert advice.by_default.groups == rankings["relative_gradient"].groups
    curves = curves_of(rankings["linearised_gain"])
    assert curves.held_out.dims == ("layer", "iteration") and curves.removed.dims[1] == "wavenumber"
    assert float(curves.held_out.max("iteration").sel(layer="l02")) == pytest.approx(
        rankings["linearised_gain"].values["l02"]
    )
    assert not curves_of(rankings["relative_gradient"]).data_vars
