"""What adaptations do to known networks; what they all must do is in tests/contract/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from eddyscope.artefacts.key import ModelKey
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations import linear
from eddyscope.learning.adaptations.auto_rgn import relative_gradients
from eddyscope.learning.adaptations.base import Adaptation, Task
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.batches import Samples
from eddyscope.learning.models import changed_layers
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.selection import adaptations_of, check_transfer, transfer_models
from eddyscope.learning.settings import TransferSettings
from eddyscope.learning.trainer import train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)
RECIPE = Recipe(steps=4, batch_size=3, rate=1e-2, key=(1,))
NAMES = ["l01", "l02", "l03"]


def base_model() -> LayeredModel:
    return build(SETTINGS, Channels.of_flow(), (1,))


def samples(count: int = 4, seed: int = 3) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 2, 8, 8, generator=generator)
    return Samples(inputs, torch.randn(count, 1, 8, 8, generator=generator))


def adaptation_of(kind: str, **parameters: object) -> Adaptation:
    return ADAPTATIONS.build(ADAPTATIONS.settings(kind, **parameters))


def adapted(adaptation: Adaptation, base: LayeredModel) -> LayeredModel:
    """The base adapted to the samples."""
    return adapted_to(adaptation, base, samples())


def adapted_to(adaptation: Adaptation, base: LayeredModel, target: Samples) -> LayeredModel:

    def trained(
        module: torch.nn.Module,
        *,
        samples: Samples | None = None,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        recipe = replace(RECIPE, factors=factors or {})
        train(module, samples or target, None, recipe, World.single())

    module = adaptation.module(base, (1, 2))
    of_base = partial(samples, seed=4)
    adaptation.fit(module, Task(target, RECIPE.batch_size, trained, of_base))
    return adaptation.folded(module, base)


@pytest.mark.parametrize(
    ("adaptation", "changed"),
    [
        (adaptation_of("layers", layers=["l02"]), ["l02"]),
        (adaptation_of("layers", layers=["l03", "l01"]), ["l01", "l03"]),
        (adaptation_of("gain"), NAMES),
        (adaptation_of("all"), NAMES),
        (adaptation_of("scratch"), NAMES),
        (adaptation_of("scale"), []),
        (adaptation_of("three_scales"), []),
        (adaptation_of("lora", layers=["l02"], rank=1), ["l02"]),
        (adaptation_of("lora", rank=2), NAMES),
        (adaptation_of("layers", layers=["l02"], parameters=100), ["l02"]),
        (adaptation_of("gain_shift"), NAMES),
        (adaptation_of("joint"), NAMES),
        (adaptation_of("auto_rgn"), NAMES),
        (adaptation_of("least_squares"), ["l03"]),
    ],
    ids=lambda value: value.text if not isinstance(value, list) else "",
)
def test_only_what_is_named_changes(adaptation: Adaptation, changed: list[str]):
    base = base_model()
    before = {k: v.clone() for k, v in base.module.state_dict().items()}
    found = adapted(adaptation, base)
    assert changed_layers(base, found) == changed
    differs = [n for n in NAMES if not torch.equal(found.layers[n].weight, before[f"{n}.weight"])]
    assert differs == changed
    after = base.module.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items()), "base was touched"


def test_gains_are_one_a_channel_and_begin_at_one():
    base, x = base_model(), samples().inputs
    module = adaptation_of("gain").module(base, (0,))
    assert torch.equal(module(x), base(x)), "gains of one change nothing"
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == 4 + 4 + 1


def test_a_low_rank_is_a_low_rank():
    base, x = base_model(), samples().inputs
    adaptation = adaptation_of("lora", layers=["l02"], rank=2)
    module = adaptation.module(base, (0,))
    assert torch.equal(module(x), base(x)), "it begins at the base model"
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == 2 * (4 + 4 * 9)
    found = adapted(adaptation, base)
    change = (found.layers["l02"].weight - base.layers["l02"].weight).detach().reshape(4, -1)
    singular = torch.linalg.svdvals(change.double())
    assert singular[1] > 1e-5 and singular[2] < 1e-6 * singular[0]


def test_random_weights_depend_on_the_key():
    for kind, name in (("scratch", "l02.weight"), ("lora", "trained.l02_a")):
        weights = [
            dict(adaptation_of(kind).module(base_model(), key).named_parameters())[name]
            for key in ((1, 1), (1, 1), (1, 2))
        ]
        assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_biases_alone_move():
    base = base_model()
    found = adapted(adaptation_of("bias"), base)
    for name, value in base.module.state_dict().items():
        assert torch.equal(found.module.state_dict()[name], value) == name.endswith("weight"), name
    assert adaptation_of("bias").count(adaptation_of("bias").module(base, (0,))) == 4 + 4 + 1


def test_a_network_without_biases_has_none_to_train():
    base = base_model()
    for layer in base.layers.values():
        layer.register_parameter("bias", None)
    with pytest.raises(CaseError, match="the network has no biases"):
        adaptation_of("bias").module(base, (0,))


def test_gains_and_shifts_transform_what_a_layer_gives():
    base, x = base_model(), samples().inputs
    module = adaptation_of("gain_shift").module(base, (0,))
    assert torch.equal(module(x), base(x)), "it begins at the base model"
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == 2 * (4 + 4 + 1)
    with torch.no_grad():
        module.trained["l03"].fill_(3.0)
        module.trained["l03_shift"].fill_(0.5)
        torch.testing.assert_close(module(x), 3.0 * base(x) + 0.5)
        torch.testing.assert_close(adaptation_of("gain_shift").folded(module, base)(x), module(x))
    for layer in base.layers.values():
        layer.register_parameter("bias", None)
    assert not any(
        "shift" in n for n, _ in adaptation_of("gain_shift").module(base, (0,)).named_parameters()
    )


def test_so_many_weights_of_a_layer_move():
    base, adaptation = base_model(), adaptation_of("layers", layers=["l02"], parameters=40)
    found = [adapted(adaptation, base) for _ in range(2)]
    before = torch.cat([p.flatten() for p in base.layers["l02"].parameters()])
    after = [torch.cat([p.flatten() for p in f.layers["l02"].parameters()]) for f in found]
    assert int((after[0] != before).sum()) == 40
    assert torch.equal(*after), "they are drawn from the key"
    assert changed_layers(base, found[0]) == ["l02"]
    chosen = []
    for key in ((1,), (2,)):
        module = adaptation.module(base, key)
        module(samples().inputs).sum().backward()
        chosen.append(module.l02.weight.grad != 0)
    assert not torch.equal(*chosen)
    assert adaptation.count(adaptation.module(base, (1,))) == 40
    assert adaptation.text == "layers(layers=l02,parameters=40)"
    assert not ModelKey(adaptation.text).is_single_layer, "it is ranked with whole layers"
    whole = 4 * 4 * 9 + 4
    more = adaptation_of("layers", layers=["l02"], parameters=whole + 1)
    with pytest.raises(CaseError, match=f"parameters={whole + 1}.*there are {whole} weights"):
        more.module(base, (1,))
    with pytest.raises(CaseError, match="set parameters = 7 or less"):
        more.check_sizes(lambda: {"l01": 900, "l02": 7})
    adaptation.check_sizes(lambda: {"l02": 40})


def test_joint_training_sees_both_systems():
    base, seen = base_model(), list[Samples]()

    def trained(module: torch.nn.Module, *, samples: Samples | None = None, **_: Any) -> None:
        assert samples is not None
        seen.append(samples)

    for adaptation, count in (
        (adaptation_of("joint"), 4),
        (adaptation_of("joint", base_samples=7), 7),
    ):
        task = Task(samples(4), 2, trained, partial(samples, seed=4))
        adaptation.fit(adaptation.module(base, (0,)), task)
        assert torch.equal(
            seen[-1].inputs, torch.cat([samples(4).inputs, samples(count, 4).inputs])
        )
        assert torch.equal(
            seen[-1].targets, torch.cat([samples(4).targets, samples(count, 4).targets])
        )


def test_relative_gradients_are_those_of_the_whole_loss():
    base, data = base_model(), samples(5)
    found = relative_gradients(base.module, data, 2)
    loss = (base(data.inputs) - data.targets).square().mean()
    loss.backward()
    ratios = {}
    for name, layer in base.layers.items():
        slope = sum(float(p.grad.double().square().sum()) for p in layer.parameters())
        size = sum(float(p.detach().double().square().sum()) for p in layer.parameters())
        ratios[name] = (slope / size) ** 0.5
    for name, layer in base.layers.items():
        wanted = pytest.approx(ratios[name] / max(ratios.values()), rel=1e-5)
        for own, _ in layer.named_parameters():
            assert found[f"{name}.{own}"] == wanted
    assert max(found.values()) == 1.0


def test_rates_are_multiplied_by_their_factors():
    """Adam's first step has the length of the rate, whatever the gradient."""
    base, module = base_model(), base_model().module
    factors = {"l01.weight": 0.25, "l02.weight": 0.5, "l03.bias": 0.0}
    train(module, samples(3), None, Recipe(1, 3, 1e-2, (1,), factors=factors), World.single())
    for name, before in base.module.named_parameters():
        moved = float((module.get_parameter(name) - before).detach().abs().median())
        assert moved == pytest.approx(1e-2 * factors.get(name, 1.0), rel=0.05), name


def solved(base: LayeredModel, data: Samples) -> tuple[Any, Any]:
    """The change of the last layer's weights, axes (output, weight and then bias), as found and
    by numpy: on circular patches, a column a weight and one of ones for the bias."""
    found = adapted_to(adaptation_of("least_squares"), base, data)
    outputs, width = base.layers["l03"].weight.shape[:2]
    with torch.no_grad():
        given = base.recorded(data.inputs)[-1].input.double()
        padded = torch.nn.functional.pad(given, (1, 1, 1, 1), mode="circular")
        patches = torch.nn.functional.unfold(padded, 3).transpose(1, 2).reshape(-1, width * 9)
        residual = (data.targets - base(data.inputs)).double().transpose(0, 1).reshape(outputs, -1)
        before, after = (
            torch.cat([n.layers["l03"].weight.flatten(1), n.layers["l03"].bias[:, None]], 1)
            for n in (base, found)
        )
    columns = np.hstack([patches.numpy(), np.ones((len(patches), 1))])
    wanted = np.linalg.lstsq(columns, residual.numpy().T, rcond=1e-6)[0].T  # of least norm
    return (after.double() - before.double()).numpy(), wanted


@pytest.mark.parametrize("numbers", [2**24, 500, 1])
def test_least_squares_is_that_of_numpy(numbers: int, monkeypatch: pytest.MonkeyPatch):
    """In one block; sample by sample, in blocks of 7 columns; and of one."""
    monkeypatch.setattr(linear, "NUMBERS", numbers)
    found, wanted = solved(base_model(), samples(6))
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_least_squares_of_two_outputs_is_that_of_numpy():
    base, generator = build(SETTINGS, Channels.of_flow(2), (1,)), torch.Generator().manual_seed(3)
    fields = torch.randn(6, 6, 8, 8, generator=generator)
    found, wanted = solved(base, Samples(fields[:, :4], fields[:, 4:]))
    assert len(found) == 2 and np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_least_squares_of_what_is_not_determined_stays_near_the_base():
    """A channel that is the same everywhere: its weights and the bias cannot be told apart."""
    base = base_model()
    with torch.no_grad():
        base.layers["l02"].weight[1] = 0.0
        base.layers["l02"].bias[1] = 2.0
    found, wanted = solved(base, samples(6))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_least_squares_tells_apart_what_is_nearly_the_same():
    """Two channels that differ by a thousandth: eigenvalues below 1e-6 of the largest matter."""
    base = base_model()
    with torch.no_grad():
        first, second = base.layers["l02"].weight[:2]
        second.copy_(first + 1e-3 * second)
    found, wanted = solved(base, samples(6))
    assert np.abs(wanted).max() > 3.0, "it takes large weights"
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=1e-2 * np.abs(wanted).max())


def test_least_squares_of_more_weights_than_points_stays_near_the_base():
    """181 weights, one sample of 64 points: all targets are met, by the least change."""
    base, data = (
        build(SETTINGS.model_copy(update={"width": 20}), Channels.of_flow(), (1,)),
        samples(1),
    )
    found, wanted = solved(base, data)
    assert found.size == 181 and np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    network = adapted_to(adaptation_of("least_squares"), base, data)
    torch.testing.assert_close(network(data.inputs), data.targets, rtol=0.0, atol=1e-4)


def test_least_squares_leaves_what_the_network_keeps_fixed():
    base, data = base_model(), samples(6)
    base.layers["l03"].bias.requires_grad_(False)
    found = adapted_to(adaptation_of("least_squares"), base, data).layers["l03"]
    assert torch.equal(found.bias, base.layers["l03"].bias)
    assert not torch.equal(found.weight, base.layers["l03"].weight)


class Differenced(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0 * (x - x.roll(1, dims=-1))


def test_least_squares_is_refused_where_more_follows_the_layer():
    """The network's output is linear in the layer, but is not the layer's own."""
    plain = base_model()
    module = torch.nn.Sequential(*plain.module, Differenced())
    base = LayeredModel(module, plain.layers, SETTINGS, plain.channels)
    with pytest.raises(CaseError, match="l03, the last layer, gives is not the network's output"):
        adapted(adaptation_of("least_squares"), base)


class Squared(torch.nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, self.weight.square(), self.bias)


def test_least_squares_is_refused_where_the_layer_is_not_linear_in_its_weights():
    last = Squared(4, 1, 1)
    plain = base_model()
    module = torch.nn.Sequential(*list(plain.module)[:-1], last)
    base = LayeredModel(module, {**plain.layers, "l03": last}, SETTINGS, plain.channels)
    with pytest.raises(CaseError, match="l03, the last layer, gives is not linear in its weights"):
        adapted(adaptation_of("least_squares"), base)


def test_least_squares_of_too_many_weights_is_refused():
    adaptation = adaptation_of("least_squares")
    adaptation.check_sizes(lambda: {"l01": 5000, "l02": 4096})
    words = "l02, the last layer, has 4097 weights, and at most 4096 are solved for"
    with pytest.raises(CaseError, match=words):
        adaptation.check_sizes(lambda: {"l01": 9, "l02": 4097})
    base = build(SETTINGS.model_copy(update={"width": 500}), Channels.of_flow(), (1,))
    with pytest.raises(CaseError, match="l03, the last layer, has 4501 weights"):
        adaptation.module(base, (0,))


def test_layers_by_shorthand():
    def texts(layers: object) -> list[str]:
        transfer = TransferSettings.model_validate({"layers": layers, "controls": []})
        return [adaptation.text for adaptation in adaptations_of(transfer, NAMES)]

    pairs = ["l01+l02", "l01+l03", "l02+l03"]
    assert texts("pairs") == pairs
    assert texts(["first", "last"]) == ["l01", "l03"]
    assert texts(["last+l02", "first"]) == ["l02+l03", "l01"]
    assert texts(["each", "pairs", "l01+l02+l03"]) == [*NAMES, *pairs, "l01+l02+l03"]


def test_a_case_names_each_model_once_and_in_order():
    transfer = TransferSettings(layers=["l03+l01", "l02", "l01+l03"], seeds=2)
    keys = [str(key) for key in transfer_models(transfer, NAMES)]
    trained = ["l01+l03", "l02", "gain", "all", "scratch"]
    first = [*trained[:2], "scale", "three_scales", *trained[2:]]
    assert keys == [*first, *(f"{name},seed=1" for name in trained)]
    each = adaptations_of(TransferSettings(controls=[]), NAMES)
    assert [adaptation.text for adaptation in each] == NAMES


def test_controls_are_plain_names_or_tables():
    controls = ["all", {"kind": "lora", "layers": ["l02", "l01"], "rank": 3}, {"kind": "lora"}]
    transfer = TransferSettings.model_validate({"layers": ["l02"], "controls": controls})
    texts = [adaptation.text for adaptation in adaptations_of(transfer, NAMES)]
    assert texts == ["l02", "all", "lora(layers=l01+l02,rank=3)", "lora(rank=4)"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": ["l00"]}, "'l00', but no layer 'l00': the network has l01 … l03"),
        ({"layers": ["l01+l04"]}, "'l01\\+l04', but no layer 'l04'"),
        ({"controls": [{"kind": "lora", "layers": ["l05"]}]}, "no layer 'l05'"),
    ],
)
def test_layers_that_the_network_lacks(settings: dict[str, object], words: str):
    with pytest.raises(CaseError, match=words):
        check_transfer(TransferSettings.model_validate(settings), NAMES)


@pytest.mark.parametrize("name", ["l2", "gain", "l01,l02", "", "l01+", "lora(layers=l01)"])
def test_what_names_no_layers(name: str):
    with pytest.raises(ValueError, match="is not of the form"):
        TransferSettings(layers=[name])
