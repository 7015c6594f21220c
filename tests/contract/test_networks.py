"""What every network must be; new registry lines are picked up by themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from eddyscope.config.errors import CaseError
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.costs import forward_flops, layer_parameters, total_parameters
from eddyscope.networks.layers import is_affine, output_channels, output_factors
from eddyscope.networks.registry import NETWORKS, build, check_grid, layer_names
from eddyscope.networks.settings import Channels
from eddyscope.networks.shift import SHIFT_ROUNDING, shift_error, shift_words
from small_networks import ONE, small_network

TWO = Channels.of_flow(2)

N = 12


def model_of(kind: str, key: tuple[int, ...] = (1,), channels: Channels = ONE) -> LayeredModel:
    model = build(small_network(kind, channels), channels, key, N)
    model.module.eval()
    return model


def fields(channels: Channels = ONE, n: int = N) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, len(channels.inputs), n, n, generator=generator)


def test_reading_a_case_needs_no_torch():
    program = "import eddyscope.stages.case, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_channels_are_named_after_the_flows_layers():
    assert Channels(("psi", "omega"), ("pi",)) == ONE
    assert Channels(("psi_1", "psi_2", "omega_1", "omega_2"), ("pi_1", "pi_2")) == TWO


@pytest.mark.parametrize("channels", [ONE, TWO], ids=["one layer", "two layers"])
@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_output_has_the_grid_and_the_channels(kind: str, channels: Channels):
    model = model_of(kind, channels=channels)
    output = model(fields(channels))
    assert output.shape == (2, len(channels.outputs), N, N)
    assert torch.isfinite(output).all() and float(output.detach().std()) > 0


@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_layers_are_submodules_in_the_order_of_a_pass(kind: str):
    model = model_of(kind)
    assert list(model.layers) == layer_names(model.settings, ONE, N)
    calls = model.recorded(fields())
    assert list(dict.fromkeys(call.name for call in calls)) == list(model.layers)
    for call in calls:
        given = [part(call.input) for part in model.modules_of(call.name)]
        assert any(torch.equal(output, call.output) for output in given)
    assert not any(part._forward_hooks for part in model.module.modules())


@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_what_layers_feed_comes_after_them(kind: str):
    model = model_of(kind)
    fed = model.fed(fields())
    assert len(fed) == len(model.recorded(fields())) and fed[-1] is None
    assert all(target > place for place, target in enumerate(fed) if target is not None)


@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_affine_layers_are_linear_in_their_parameters(kind: str):
    """Adaptations that multiply are folded into weights by this."""
    model = model_of(kind)
    generator = torch.Generator().manual_seed(2)
    for call in model.recorded(fields()):
        parts = model.modules_of(call.name)
        layer = next(part for part in parts if torch.equal(part(call.input), call.output))
        assert is_affine(layer)
        gains = 1.0 + torch.rand(output_channels(layer), generator=generator)
        scaled = {
            name: parameter * output_factors(layer, name, gains)
            for name, parameter in layer.named_parameters()
        }
        found = torch.func.functional_call(layer, scaled, (call.input,))
        torch.testing.assert_close(found, gains.reshape(-1, 1, 1) * call.output)


@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_parameters_are_addressed_as_torch_takes_them(kind: str):
    model, x = model_of(kind), fields()
    everything = dict(model.module.named_parameters())
    for name in model.layers:
        own = model.parameters_of(name)
        assert own and all(everything[key] is parameter for key, parameter in own.items())
        moved = {key: parameter + 0.1 for key, parameter in own.items()}
        changed = torch.func.functional_call(model.module, moved, (x,))
        assert not torch.equal(changed, model(x)), f"{name} has no effect"


@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_copies_share_nothing(kind: str):
    model = model_of(kind)
    copied = model.copy()
    expected = model(fields())
    with torch.no_grad():
        for layer in copied.layers.values():
            for parameter in layer.parameters():
                parameter.zero_()
    assert torch.equal(model(fields()), expected)
    assert not torch.equal(copied(fields()), expected)


@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_weights_come_from_the_key_alone(kind: str):
    state = torch.random.get_rng_state()
    first, again, other = (model_of(kind, key) for key in ((7, 0), (7, 0), (7, 1)))
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was used"
    for name in first.layers:
        weights = [model.layers[name].weight for model in (first, again, other)]
        assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("kind", ["cnn", "unet"])
def test_networks_live_on_the_periodic_box(kind: str):
    model, x = model_of(kind), fields()
    shifted = torch.roll(x, (4, -2), dims=(2, 3))
    expected = torch.roll(model(x), (4, -2), dims=(2, 3))
    torch.testing.assert_close(model(shifted), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_how_far_a_network_is_from_shifting_with_its_input_is_measured(kind: str):
    model, x = model_of(kind), fields()
    with torch.no_grad():
        errors = [model(torch.roll(x, 1, axis)) - torch.roll(model(x), 1, axis) for axis in (2, 3)]
        expected = max(float(e.norm() / model(x).norm()) for e in errors)
    assert shift_error(model, x) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert (expected > SHIFT_ROUNDING) == bool(shift_words(expected)) == (kind in ("unet", "user"))


@pytest.mark.parametrize("channels", [ONE, TWO], ids=["one layer", "two layers"])
@pytest.mark.parametrize("kind", NETWORKS.entries)
def test_costs_are_counted_from_the_module(kind: str, channels: Channels):
    model = model_of(kind, channels=channels)
    counted = {
        name: sum(p.numel() for p in model.parameters_of(name).values()) for name in model.layers
    }
    assert layer_parameters(model.settings, channels, N) == counted
    assert total_parameters(model.settings, channels, N) >= sum(counted.values())
    flops = [forward_flops(model.settings, channels, n) for n in (N, 2 * N)]
    assert flops[1] == 4 * flops[0] > 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, len(channels.inputs), N, N))
    assert flops[0] == counter.get_total_flops()


def test_grids_that_a_network_cannot_work_on_are_refused():
    with pytest.raises(CaseError, match=r"kernel_size = 17 is wider than the grid of 16 x 16"):
        check_grid(NETWORKS.settings("cnn", kernel_size=17), 16)
    with pytest.raises(CaseError, match=r"halves the grid, but it has 15 points"):
        check_grid(NETWORKS.settings("unet"), 15)
    with pytest.raises(CaseError, match=r"kernel_size = 9 is wider than the coarse level of 8 x 8"):
        check_grid(NETWORKS.settings("unet", kernel_size=9), 16)
    for kind in NETWORKS:
        check_grid(small_network(kind), N)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsampling_keeps_the_mean(mode: str):
    model = build(NETWORKS.settings("unet", width=2, upsampling=mode), ONE, (1,))
    up = model.module.get_submodule("skip.inner.up")
    x = fields()
    fine = up(x)
    assert fine.shape[-1] == 2 * N
    torch.testing.assert_close(fine.mean((2, 3)), x.mean((2, 3)))
    torch.testing.assert_close(torch.roll(fine, 2, 3), up(torch.roll(x, 1, 3)))
