"""What every adaptation must do; new registry lines are picked up by themselves."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from eddyscope.artefacts.key import ModelKey
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Adaptation, Task
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.batches import Samples
from eddyscope.learning.models import changed_layers
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.trainer import train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS, build
from eddyscope.networks.state import state_of
from eddyscope.parallel.world import World
from small_networks import ONE, small_network

ADAPTATION_PARAMETERS = {"layers": {"layers": ["l02", "l03"]}, "lora": {"rank": 2}}
"""Of adaptations that need some."""

OF_ALL = ("all", "scratch", "joint", "auto_rgn")
"""Adaptations that keep nothing as it is."""


def samples() -> Samples:
    inputs = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    return Samples(inputs, inputs[:, :1] * inputs[:, 1:])


def base_model(network: str) -> LayeredModel:
    model = build(small_network(network), ONE, (1,), n=8)
    with torch.no_grad():
        for buffer in model.module.buffers():  # as if it had been trained
            buffer.add_(1)
    model.module.eval()
    return model


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
    numbers = sum(p.numel() for k, p in module.named_parameters() if k in trainable)
    assert adaptation.count(module) == numbers
    before = {k: p.detach().clone() for k, p in module.named_parameters()}
    kept = {k: b.clone() for k, b in module.named_buffers()}

    def trained(
        module: torch.nn.Module,
        *,
        samples: Samples | None = None,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        recipe = Recipe(2, 2, 1e-2, (0,), factors=factors or {})
        last = base.channels_last
        train(module, samples or target, None, recipe, World.single(), channels_last=last)

    target, asked = samples(), list[int]()

    def of_base(count: int) -> Samples:
        asked.append(count)
        return Samples(target.inputs[:count], target.targets[:count])

    task = Task(target, 2, trained, of_base)
    if kind == "least_squares" and network == "user":  # whose output is squashed
        with pytest.raises(
            CaseError, match="l05, the last layer, gives is not the network's output"
        ):
            adaptation.fit(module, task)
        return
    adaptation.fit(module, task)
    assert asked == [count for count in [adaptation.base_samples(len(target))] if count]
    moved = {k for k, p in module.named_parameters() if not torch.equal(p, before[k])}
    assert moved <= trainable, "something frozen moved"
    first_step_is_zero = {k for k in trainable if kind == "lora" and k.endswith("_a")}
    idle = {k for k, p in module.named_parameters() if k.startswith("spare.")}
    assert moved >= trainable - first_step_is_zero - idle, "something trainable is not in the graph"
    if kind not in OF_ALL:
        assert all(torch.equal(b, kept[k]) for k, b in module.named_buffers()), "not frozen"
    module.eval()
    folded = adaptation.folded(module, base)
    assert folded.settings == base.settings and list(folded.layers) == names
    more = {name.rpartition(".")[2] for name in state_of(folded.module)} - {
        name.rpartition(".")[2] for name in state_of(base.module)
    }
    assert more <= {"eddyscope_scale"}
    scales, x = adaptation.scales(module), samples().inputs
    assert scales.keys() <= {*ONE.inputs, *ONE.outputs}
    of_inputs = torch.tensor([scales.get(name, 1.0) for name in ONE.inputs]).reshape(-1, 1, 1)
    with torch.no_grad():
        whole = folded((of_inputs * x).to(x.dtype)) * scales.get("pi", 1.0)
        torch.testing.assert_close(whole, module(x))
    named = ModelKey(adaptation.text).layers
    changed = changed_layers(base, folded)
    assert changed == list(named) if named else bool(changed) != bool(scales), changed


@pytest.mark.parametrize("network", NETWORKS.entries)
@pytest.mark.parametrize("kind", ADAPTATIONS.entries)
def test_what_is_adapted_depends_on_the_key_alone(kind: str, network: str):
    base, adaptation = base_model(network), adaptation_named(kind)
    untouched = {k: t.clone() for k, t in state_of(base.module).items()}
    first, again = (adaptation.module(base, (2, 1)).state_dict() for _ in range(2))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert all(torch.equal(t, untouched[k]) for k, t in state_of(base.module).items())


@pytest.mark.parametrize("kind", ADAPTATIONS.entries)
def test_adaptations_have_a_place_in_names(kind: str):
    adaptation = adaptation_named(kind)
    key = ModelKey(adaptation.text)
    assert str(key) == adaptation.text and key.kind == kind
    assert ModelKey.parse(f"{adaptation.text},seed=1").seed == 1
