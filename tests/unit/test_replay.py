"""A network that is run again and again while one layer of it changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS, build
from eddyscope.networks.replay import Replay
from small_networks import ONE, small_network


@pytest.mark.parametrize("kind", [*NETWORKS])
def test_outputs_and_gradients_are_the_networks(kind: str):
    model = build(small_network(kind), ONE, (1,), n=8)
    model.module.eval()
    inputs = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(2))
    places = torch.tensor([3, 0, 4])
    for layer in model.layers:
        replay = Replay(model, layer, inputs)
        output = replay(places)
        assert torch.allclose(output, model(inputs[places]), atol=1e-6)
        gradients = torch.autograd.grad(output.square().sum(), [*replay.trained.values()])
        own = list(model.parameters_of(layer).values())
        expected = torch.autograd.grad(model(inputs[places]).square().sum(), own)
        for mine, theirs in zip(gradients, expected, strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_layers_before_are_not_computed_again():
    model = build(small_network("cnn"), ONE, (1,), n=8)
    replay = Replay(model, "l03", torch.randn(2, 2, 8, 8))
    layers = replay._network.layers
    with torch.no_grad():
        for layer in ("l01", "l02"):
            layers[layer].weight.fill_(torch.nan)
    assert torch.isfinite(replay(torch.tensor([0]))).all()
    with torch.no_grad():
        layers["l03"].weight.fill_(torch.nan)
    assert torch.isnan(replay(torch.tensor([0]))).all(), "l03 itself is computed"


class OfTheBatch(nn.Module):
    """What its first layer is given depends on the other samples of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x - x.mean(dim=0)).relu())


def test_what_cannot_be_replayed_is_computed_whole():
    module = OfTheBatch().eval()
    layers = {"l01": module.one, "l02": module.two}
    model = LayeredModel(module, layers, small_network("cnn"), ONE)
    x = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    places = torch.tensor([1, 4])
    assert torch.allclose(Replay(model, "l02", x)(places), model(x[places]))
