"""The network: symmetries, the convolution theorem, where its random weights come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.costs import layer_parameters
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)


def network_of(settings: Cnn.Settings = SETTINGS, key: tuple[int, ...] = (0,)) -> LayeredModel:
    return build(settings, Channels.of_flow(), key)


def fields(count: int = 2, n: int = 12) -> torch.Tensor:
    return torch.randn(count, 2, n, n, generator=torch.Generator().manual_seed(5))


def test_circular_network_commutes_with_shifts():
    network, x = network_of(), fields()
    shifted = torch.roll(x, (3, -2), dims=(2, 3))
    expected = torch.roll(network(x), (3, -2), dims=(2, 3))
    torch.testing.assert_close(network(shifted), expected, rtol=1e-5, atol=1e-6)


def test_zero_padding_does_not_commute_with_shifts():
    network = network_of(SETTINGS.model_copy(update={"padding": "zeros"}))
    x = fields()
    shifted = torch.roll(x, (3, -2), dims=(2, 3))
    assert (network(shifted) - torch.roll(network(x), (3, -2), dims=(2, 3))).abs().max() > 1e-2


def test_layer_obeys_the_convolution_theorem():
    """h_hat = sum_b conj(W_hat) g_hat + n² bias at k = 0, W padded and centred on the origin."""
    n, network = 12, network_of()
    network.module.double()
    layer = network.layers["l01"]
    torch.nn.init.constant_(layer.bias, 0.25)
    x = fields(1, n).double()
    padded = np.zeros((4, 2, n, n))
    padded[:, :, :3, :3] = layer.weight.detach().numpy()
    kernels = np.fft.fft2(np.roll(padded, (-1, -1), axis=(2, 3)))
    expected = np.einsum("oiyx,iyx->oyx", np.conj(kernels), np.fft.fft2(x[0].numpy()))
    expected[:, 0, 0] += 0.25 * n * n
    h = network.recorded(x)[0].output[0].detach().numpy()
    np.testing.assert_allclose(np.fft.fft2(h), expected, atol=1e-11)


def test_weights_come_from_the_key_alone():
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = network_of(SETTINGS, (7, 0))
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was used"
    torch.manual_seed(2)
    again, other = network_of(SETTINGS, (7, 0)), network_of(SETTINGS, (7, 1))
    deeper = network_of(SETTINGS.model_copy(update={"depth": 5}), (7, 0))
    assert torch.equal(first.layers["l02"].weight, again.layers["l02"].weight)
    assert torch.equal(first.layers["l02"].weight, deeper.layers["l02"].weight)
    assert not torch.equal(first.layers["l02"].weight, other.layers["l02"].weight)


def test_signal_keeps_its_size_through_many_layers():
    """Neither dies out nor explodes: the reason for the gain of the initialisation."""
    settings = Cnn.Settings(depth=12, width=32, kernel_size=5)
    spread = float(network_of(settings)(fields(4, 16)).detach().std())
    assert 0.2 < spread < 5.0


@pytest.mark.parametrize("depth", [2, 11])
def test_parameters_are_counted_right(depth: int):
    settings = Cnn.Settings(depth=depth, width=5, kernel_size=5)
    network = network_of(settings)
    counted = {n: sum(p.numel() for p in layer.parameters()) for n, layer in network.layers.items()}
    assert counted == layer_parameters(settings, Channels.of_flow())


def test_the_papers_network_has_the_papers_size():
    sizes = layer_parameters(Cnn.Settings(), Channels.of_flow())
    assert sum(sizes.values()) == 927_041
    assert (sizes["l01"], sizes["l05"], sizes["l11"]) == (3_264, 102_464, 1_601)
