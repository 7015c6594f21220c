"""What adaptations do to known networks; what they all must do is in tests/contract/."""

from __future__ import annotations

import pytest
import torch

from eddyscope.config.errors import CaseError
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
from eddyscope.networks.state import state_of
from eddyscope.parallel.world import World

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)
RECIPE = Recipe(steps=4, batch_size=3, rate=1e-2, key=(1,))
NAMES = ["l01", "l02", "l03"]


def base_model() -> LayeredModel:
    return build(SETTINGS, Channels.of_flow(), (1,))


def samples(count: int = 4) -> Samples:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(count, 2, 8, 8, generator=generator)
    return Samples(inputs, torch.randn(count, 1, 8, 8, generator=generator))


def adaptation_of(kind: str, **parameters: object) -> Adaptation:
    return ADAPTATIONS.build(ADAPTATIONS.settings(kind, **parameters))


def adapted(adaptation: Adaptation, base: LayeredModel) -> LayeredModel:
    """The base adapted to the samples."""

    def trained(module: torch.nn.Module) -> None:
        train(module, samples(), None, RECIPE, World.single())

    module = adaptation.module(base, (1, 2))
    adaptation.fit(module, Task(samples(), RECIPE.batch_size, trained))
    return adaptation.folded(module, base)


@pytest.mark.parametrize(
    ("adaptation", "changed"),
    [
        (adaptation_of("layers", layers=["l02"]), ["l02"]),
        (adaptation_of("layers", layers=["l03", "l01"]), ["l01", "l03"]),
        (adaptation_of("gain"), NAMES),
        (adaptation_of("all"), NAMES),
        (adaptation_of("scratch"), NAMES),
        (adaptation_of("scale"), ["l03"]),
        (adaptation_of("lora", layers=["l02"], rank=1), ["l02"]),
        (adaptation_of("lora", rank=2), NAMES),
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


def test_scale_is_the_least_squares_factor():
    base, data = base_model(), samples()
    found = adapted(adaptation_of("scale"), base)
    with torch.no_grad():
        f, t = base(data.inputs).flatten().double(), data.targets.flatten().double()
        factor = float(torch.linalg.lstsq(f[:, None], t[:, None]).solution)
        torch.testing.assert_close(found(data.inputs), factor * base(data.inputs))


@pytest.mark.parametrize("end", [torch.nn.Tanh(), torch.nn.ReLU()])
def test_scale_multiplies_whatever_follows_the_last_layer(end: torch.nn.Module):
    plain, data = base_model(), samples()
    module = torch.nn.Sequential(*plain.module, end)
    base = LayeredModel(module, plain.layers, SETTINGS, plain.channels)
    found = adapted(adaptation_of("scale"), base)
    with torch.no_grad():
        f, t = base(data.inputs).flatten().double(), data.targets.flatten().double()
        factor = float(torch.linalg.lstsq(f[:, None], t[:, None]).solution)
        torch.testing.assert_close(found(data.inputs), factor * base(data.inputs))
        torch.testing.assert_close(found.copy()(data.inputs), factor * base(data.inputs))
    assert changed_layers(base, found) == []
    assert set(state_of(found.module)) - set(state_of(base.module)) == {"eddyscope_scale"}


def test_a_case_names_each_model_once_and_in_order():
    transfer = TransferSettings(layers=["l03+l01", "l02", "l01+l03"], seeds=2)
    keys = [str(key) for key in transfer_models(transfer, NAMES)]
    first = ["l01+l03", "l02", "gain", "all", "scratch"]
    assert keys == [*first, "scale", *(f"{name},seed=1" for name in first)]
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
