"""The network: symmetries, the convolution theorem, where its random weights come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eddyscope.networks.closure_network import ClosureNetwork
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.costs import layer_parameters
from eddyscope.networks.settings import Channels

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)


def fields(count: int = 2, n: int = 12) -> torch.Tensor:
    return torch.randn(count, 2, n, n, generator=torch.Generator().manual_seed(5))


def test_circular_network_commutes_with_shifts():
    network, x = ClosureNetwork(SETTINGS), fields()
    shifted = torch.roll(x, (3, -2), dims=(2, 3))
    expected = torch.roll(network(x), (3, -2), dims=(2, 3))
    torch.testing.assert_close(network(shifted), expected, rtol=1e-5, atol=1e-6)


def test_zero_padding_does_not_commute_with_shifts():
    network = ClosureNetwork(SETTINGS.model_copy(update={"padding": "zeros"}))
    x = fields()
    shifted = torch.roll(x, (3, -2), dims=(2, 3))
    assert (network(shifted) - torch.roll(network(x), (3, -2), dims=(2, 3))).abs().max() > 1e-2


def test_layer_obeys_the_convolution_theorem():
    """h_hat = sum_b conj(W_hat) g_hat + n² bias at k = 0, W padded and centred on the origin."""
    n, network = 12, ClosureNetwork(SETTINGS).double()
    layer = network.layer("l01")
    torch.nn.init.constant_(layer.bias, 0.25)
    x = fields(1, n).double()
    padded = np.zeros((4, 2, n, n))
    padded[:, :, :3, :3] = layer.weight.detach().numpy()
    kernels = np.fft.fft2(np.roll(padded, (-1, -1), axis=(2, 3)))
    expected = np.einsum("oiyx,iyx->oyx", np.conj(kernels), np.fft.fft2(x[0].numpy()))
    expected[:, 0, 0] += 0.25 * n * n
    h = next(iter(network.activations(x)))[1][0].detach().numpy()
    np.testing.assert_allclose(np.fft.fft2(h), expected, atol=1e-11)


def test_activations_are_the_steps_of_the_forward_pass():
    network, x = ClosureNetwork(SETTINGS), fields()
    steps = list(network.activations(x))
    assert [name for name, _, _ in steps] == ["l01", "l02", "l03"]
    assert torch.equal(steps[-1][2], network(x))
    assert steps[0][1].min() < 0 and steps[0][2].min() == 0
    for name in network.names:
        given = network.input_of(name, x)
        parameters = dict(network.layer(name).named_parameters())
        torch.testing.assert_close(network.output_from(name, given, parameters), network(x))


def test_weights_come_from_the_key_alone():
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = ClosureNetwork(SETTINGS, (7, 0))
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was used"
    torch.manual_seed(2)
    again, other = ClosureNetwork(SETTINGS, (7, 0)), ClosureNetwork(SETTINGS, (7, 1))
    deeper = ClosureNetwork(SETTINGS.model_copy(update={"depth": 5}), (7, 0))
    assert torch.equal(first.layer("l02").weight, again.layer("l02").weight)
    assert torch.equal(first.layer("l02").weight, deeper.layer("l02").weight)
    assert not torch.equal(first.layer("l02").weight, other.layer("l02").weight)


def test_signal_keeps_its_size_through_many_layers():
    """Neither dies out nor explodes: the reason for the gain of the initialisation."""
    settings = Cnn.Settings(depth=12, width=32, kernel_size=5)
    spread = float(ClosureNetwork(settings)(fields(4, 16)).detach().std())
    assert 0.2 < spread < 5.0


@pytest.mark.parametrize("depth", [2, 11])
def test_parameters_are_counted_right(depth: int):
    settings = Cnn.Settings(depth=depth, width=5, kernel_size=5)
    network = ClosureNetwork(settings)
    counted = {n: sum(p.numel() for p in network.layer(n).parameters()) for n in network.names}
    assert counted == layer_parameters(settings, Channels.of_flow())


def test_the_papers_network_has_the_papers_size():
    sizes = layer_parameters(Cnn.Settings(), Channels.of_flow())
    assert sum(sizes.values()) == 927_041
    assert (sizes["l01"], sizes["l05"], sizes["l11"]) == (3_264, 102_464, 1_601)
