"""What every adaptation must do; new registry lines are picked up by themselves."""

from __future__ import annotations

import pytest
import torch

from eddyscope.artefacts.key import ModelKey
from eddyscope.learning.adaptations.base import Adaptation, Task
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.batches import Samples
from eddyscope.learning.models import changed_layers
from eddyscope.learning.trainer import Recipe, train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS, build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World

NETWORK_PARAMETERS = {"cnn": {"depth": 3, "width": 4, "kernel_size": 3}, "unet": {"width": 3}}
"""Of small networks; a network that is not named here has its defaults."""

ADAPTATION_PARAMETERS = {"layers": {"layers": ["l02", "l03"]}, "lora": {"rank": 2}}
"""Of adaptations that need some."""


def samples() -> Samples:
    inputs = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    return Samples(inputs, inputs[:, :1] * inputs[:, 1:])


def base_model(network: str) -> LayeredModel:
    settings = NETWORKS.settings(network, **NETWORK_PARAMETERS.get(network, {}))
    return build(settings, Channels.of_flow(), (1,))


def adaptation_named(kind: str) -> Adaptation:
    return ADAPTATIONS.build(ADAPTATIONS.settings(kind, **ADAPTATION_PARAMETERS.get(kind, {})))


@pytest.mark.parametrize("network", NETWORKS.entries)
@pytest.mark.parametrize("kind", ADAPTATIONS.entries)
def test_adaptations(kind: str, network: str):
    base, adaptation = base_model(network), adaptation_named(kind)
    names = list(base.layers)
    adaptation.check(names)
    module = adaptation.module(base, (2,))
    trainable = {k for k, p in module.named_parameters() if p.requires_grad}
    assert trainable
    before = {k: p.detach().clone() for k, p in module.named_parameters()}

    def trained(module: torch.nn.Module) -> None:
        train(module, samples(), None, Recipe(1, 2, 1e-2, (0,)), World.single())

    adaptation.fit(module, Task(samples(), 2, trained))
    moved = {k for k, p in module.named_parameters() if not torch.equal(p, before[k])}
    assert moved <= trainable, "something frozen moved"
    first_step_is_zero = {k for k in trainable if kind == "lora" and k.endswith("_a")}
    assert moved >= trainable - first_step_is_zero, "something trainable is not in the graph"
    folded = adaptation.folded(module, base)
    assert folded.settings == base.settings and list(folded.layers) == names
    assert folded.module.state_dict().keys() == base.module.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(folded(samples().inputs), module(samples().inputs))
    named = ModelKey(adaptation.text).layers
    changed = changed_layers(base, folded)
    assert changed == list(named) if named else changed, "other layers than those it names"


@pytest.mark.parametrize("kind", ADAPTATIONS.entries)
def test_adaptations_have_a_place_in_names(kind: str):
    adaptation = adaptation_named(kind)
    key = ModelKey(adaptation.text)
    assert str(key) == adaptation.text and key.kind == kind
    assert ModelKey.parse(f"{adaptation.text},seed=1").seed == 1
