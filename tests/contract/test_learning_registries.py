"""What every adaptation must do; new registry lines are picked up by themselves."""

from __future__ import annotations

import pytest
import torch

from eddyscope.learning.adapt import ADAPTATIONS, adaptation_named
from eddyscope.learning.batches import Samples
from eddyscope.learning.settings import TransferSettings
from eddyscope.learning.trainer import Recipe, train
from eddyscope.networks.closure_network import ClosureNetwork
from eddyscope.networks.cnn import Cnn
from eddyscope.parallel.world import World

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)


def samples() -> Samples:
    inputs = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    return Samples(inputs, inputs[:, :1] * inputs[:, 1:])


@pytest.mark.parametrize("name", ADAPTATIONS)
def test_adaptations(name: str):
    base = ClosureNetwork(SETTINGS, (1,))
    adaptation = adaptation_named(name, base.names, (2,))
    module = adaptation.module(base)
    trainable = {k for k, p in module.named_parameters() if p.requires_grad}
    assert trainable
    before = {k: p.detach().clone() for k, p in module.named_parameters()}
    train(module, samples(), None, Recipe(1, 2, 1e-2, (0,)), World.single())
    moved = {k for k, p in module.named_parameters() if not torch.equal(p, before[k])}
    assert moved == trainable, "something trainable is not in the graph, or something frozen moved"
    folded = adaptation.folded(module)
    assert type(folded) is ClosureNetwork and folded.settings == SETTINGS
    with torch.no_grad():
        torch.testing.assert_close(folded(samples().inputs), module(samples().inputs))
    assert set(adaptation.retrained(base)) <= set(base.names)


def test_case_files_offer_every_entry():
    assert set(TransferSettings().controls) == ADAPTATIONS.keys()
