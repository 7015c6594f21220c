"""What is re-trained, and only that; folding and the least-squares floor are exact."""

from __future__ import annotations

import copy

import pytest
import torch

from eddyscope.config.errors import CaseError
from eddyscope.learning.adapt import GainNetwork, adaptation_named, best_scale, scaled_output
from eddyscope.learning.batches import Samples
from eddyscope.learning.trainer import Recipe, train
from eddyscope.networks.closure_network import ClosureNetwork
from eddyscope.networks.cnn import Cnn
from eddyscope.parallel.world import World

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)
RECIPE = Recipe(epochs=2, batch_size=2, learning_rate=1e-2, key=(1,))


def samples(count: int = 4) -> Samples:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(count, 2, 8, 8, generator=generator)
    return Samples(inputs, torch.randn(count, 1, 8, 8, generator=generator))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("l02", ["l02"]),
        ("l01+l03", ["l01", "l03"]),
        ("gain", ["l01", "l02", "l03"]),
        ("all", ["l01", "l02", "l03"]),
        ("scratch", ["l01", "l02", "l03"]),
    ],
)
def test_only_what_is_named_changes(name: str, changed: list[str]):
    base = ClosureNetwork(SETTINGS, (1,))
    before = copy.deepcopy(base.state_dict())
    adaptation = adaptation_named(name, base.names, (1, 2))
    module = adaptation.module(base)
    train(module, samples(), None, RECIPE, World.single())
    found = adaptation.folded(module)
    assert isinstance(found, ClosureNetwork) and found.settings == SETTINGS
    assert adaptation.retrained(base) == changed
    differs = [
        n for n in base.names if not torch.equal(found.layer(n).weight, before[f"{n}.weight"])
    ]
    assert differs == changed
    assert all(torch.equal(v, before[k]) for k, v in base.state_dict().items()), "base was touched"


def test_folded_gains_predict_the_same():
    base, x = ClosureNetwork(SETTINGS, (1,)), samples().inputs
    adaptation = adaptation_named("gain", base.names, (0,))
    module = adaptation.module(base)
    assert isinstance(module, GainNetwork)
    assert torch.equal(module(x), base(x)), "gains of one change nothing"
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == 4 + 4 + 1
    for gain in module.gains.values():
        torch.nn.init.uniform_(gain, 0.5, 2.0)
    assert torch.equal(adaptation.folded(module)(x), module(x))
    assert not torch.allclose(module(x), base(x))


def test_scratch_depends_on_its_key():
    base = ClosureNetwork(SETTINGS, (1,))
    weights = [
        adaptation_named("scratch", base.names, key).module(base).state_dict()["l02.weight"]
        for key in ((1, 1), (1, 1), (1, 2))
    ]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_scale_is_the_least_squares_factor():
    base, data = ClosureNetwork(SETTINGS, (1,)), samples()
    factor = best_scale(base, data, batch_size=3)
    with torch.no_grad():
        f, t = base(data.inputs).flatten().double(), data.targets.flatten().double()
        expected = torch.linalg.lstsq(f[:, None], t[:, None]).solution
        assert factor == pytest.approx(float(expected), rel=1e-6)
        torch.testing.assert_close(
            scaled_output(base, factor)(data.inputs), factor * base(data.inputs)
        )


@pytest.mark.parametrize("name", ["l04", "l2", "lora", "l01+l09"])
def test_unknown_names(name: str):
    with pytest.raises(CaseError, match="nothing to re-train is called"):
        adaptation_named(name, ["l01", "l02", "l03"], (0,))
