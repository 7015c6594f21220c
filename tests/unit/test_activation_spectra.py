"""Spectra of activations: Parseval, known fields, chunking, and what the ReLU does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from eddyscope.analysis import activation_spectra as acts
from eddyscope.analysis.groups import activation_groups
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS, build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World
from eddyscope.spectral.shells import shell_counts

N = 16


ONE = Channels.of_flow()
SETTINGS = NETWORKS.settings("cnn")


class Blur(nn.Module):
    """Blurs each channel in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + torch.roll(x, 1, dims=-1)) / 2


class Sum(nn.Module):
    """Adds the channels up."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=1, keepdim=True)


def two_layers() -> LayeredModel:
    """A known network: l01 blurs, l02 adds up, a ReLU between them."""
    module = nn.Sequential(Blur(), nn.ReLU(), Sum())
    return LayeredModel(module, {"l01": module[0], "l02": module[2]}, SETTINGS, ONE)


def activations(x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """h and g of its layers."""
    h = Blur()(x)
    out = torch.relu(h).sum(dim=1, keepdim=True)
    return [(h, torch.relu(h)), (out, out)]


def subject(samples: torch.Tensor) -> acts.Subject:
    return acts.Subject(two_layers(), samples)


@pytest.fixture(name="alone")
def _alone() -> World:
    return World.single()


def random_samples(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, N, N, generator=generator, dtype=torch.float64)


def test_parseval_at_every_layer(alone: World) -> None:
    x = random_samples(5)
    found = acts.measure(alone, {"a": subject(x)})["a"]
    assert found.layers == ("l01", "l02")
    for layer, (h, g) in enumerate(activations(x)):
        assert found.h[layer].sum() == pytest.approx(float((h**2).mean()), rel=1e-12)
        assert found.g[layer].sum() == pytest.approx(float((g**2).mean()), rel=1e-12)
        assert found.positive[layer] == pytest.approx(float((h > 0).double().mean()), rel=1e-12)
    assert np.allclose(found.inputs.sum(axis=1), (x**2).mean(dim=(0, 2, 3)).numpy(), rtol=1e-12)


def test_a_wave_has_its_power_in_its_shell_and_the_relu_spreads_it(alone: World) -> None:
    wave = torch.cos(3 * 2 * torch.pi * torch.arange(N, dtype=torch.float64) / N)
    x = wave.expand(1, 2, N, N).clone()
    found = acts.measure(alone, {"wave": subject(x)})["wave"]
    factor = np.cos(3 * np.pi / N) ** 2  # the blur's gain at k = 3, squared
    assert found.inputs[:, 3] == pytest.approx([0.5, 0.5])
    assert found.h[0, 3] == pytest.approx(0.5 * factor)
    assert np.delete(found.h[0], 3).max() < 1e-25
    # max(cos, 0) = 1/π + cos/2 + (2/3π) cos 2· − …: half the amplitude, and k = 0 and 6 appear.
    assert found.g[0, 3] == pytest.approx(found.h[0, 3] / 4, rel=0.05)
    assert found.g[0, 0] > 0.05 and found.g[0, 6] > 0.01


def test_the_mean_is_over_samples_whatever_the_chunks(alone: World) -> None:
    x = random_samples(7)
    whole = acts.measure(alone, {"x": subject(x)})["x"]
    singles = [acts.measure(alone, {"x": subject(x[i : i + 1])})["x"] for i in range(7)]
    assert np.allclose(whole.h, np.mean([s.h for s in singles], axis=0), rtol=1e-12)
    assert np.allclose(whole.positive, np.mean([s.positive for s in singles], axis=0), rtol=1e-12)


def test_several_probes_are_kept_apart(alone: World) -> None:
    small, large = random_samples(3, seed=1), 10 * random_samples(4, seed=2)
    both = acts.measure(alone, {"small": subject(small), "large": subject(large)})
    for name, samples in (("small", small), ("large", large)):
        only = acts.measure(alone, {name: subject(samples)})[name]
        assert np.array_equal(both[name].h, only.h)
        assert np.array_equal(both[name].g, only.g)


def test_shell_power_is_by_channel_and_sample() -> None:
    x = random_samples(3)
    power = acts.shell_power(x)
    assert power.shape[:2] == (3, 2)
    assert np.allclose(power.sum(axis=-1), (x**2).mean(dim=(-2, -1)).numpy(), rtol=1e-12)


def test_coarser_grids_have_fewer_shells(alone: World) -> None:
    """In a U-Net h is on its layer's grid, g on that of the layer after it."""
    model = build(NETWORKS.settings("unet", width=3), ONE, (1,))
    x = random_samples(3).float()
    found = acts.measure(alone, {"unet": acts.Subject(model, x)})["unet"]
    assert found.layers == tuple(model.layers)
    calls = model.recorded(x)
    sides = [call.output.shape[-1] for call in calls]
    assert list(found.points) == sides and set(sides) == {N, N // 2}
    whole, half = len(shell_counts(N)), len(shell_counts(N // 2))
    following = [*(call.input for call in calls[1:]), model(x)]
    for row, (call, g) in enumerate(zip(calls, following, strict=True)):
        for spectrum, field in ((found.h[row], call.output), (found.g[row], g)):
            known = np.isfinite(spectrum)
            assert known.sum() == (whole if field.shape[-1] == N else half)
            assert known[: known.sum()].all(), "the shells that are missing are the last ones"
            mean = float(field.detach().double().square().mean())
            assert np.nansum(spectrum) == pytest.approx(mean, rel=1e-6)
    group = activation_groups(alone, {"unet": acts.Subject(model, x)})["activations/unet"]
    assert group.h.dims == group.g.dims == ("layer", "wavenumber")
    assert list(group.channel.values) == ["psi", "omega"]


class Branches(nn.Module):
    """l01 and l02 side by side, then l03 of their sum; l01 is changed in place, squashed at the
    end."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(2, 2, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = nn.functional.relu_(self.layers[0](x))
        b = self.layers[1](x)
        return torch.tanh(self.layers[2](a + b)).sum(dim=1, keepdim=True)


def test_what_is_made_of_a_layer_is_found_by_what_feeds_what(alone: World) -> None:
    module = Branches().double()
    layers = {f"l0{i + 1}": layer for i, layer in enumerate(module.layers)}
    model, x = LayeredModel(module, layers, SETTINGS, ONE), random_samples(3)
    assert model.fed(x) == [2, 2, None]
    with torch.no_grad():
        h = [layer(x) for layer in module.layers[:2]]
        summed, output = torch.relu(h[0]) + h[1], module(x)
    for call, gave in zip(model.recorded(x), h, strict=False):
        torch.testing.assert_close(call.output, gave, msg="not as the layer gave it")
    found = acts.measure(alone, {"x": acts.Subject(model, x)})["x"]
    for row, g in enumerate((summed, summed, output)):
        assert found.g[row].sum() == pytest.approx(float((g**2).mean()), rel=1e-12)


def test_what_is_no_field_has_no_spectrum(alone: World) -> None:
    flat, wide = nn.Flatten(), nn.Linear(2 * N * N, N * N)
    module = nn.Sequential(flat, wide, nn.Unflatten(1, (1, N, N)))
    model = LayeredModel(module, {"l01": wide}, SETTINGS, ONE)
    found = acts.measure(alone, {"x": acts.Subject(model, random_samples(3).float())})["x"]
    assert np.isnan(found.h).all() and list(found.points) == [0]
    assert np.isfinite(found.g).all(), "the output is a field"


def test_the_network_is_left_as_it_was(alone: World) -> None:
    model = two_layers()
    acts.measure(alone, {"x": acts.Subject(model, random_samples(1))})
    assert not model.module._forward_hooks and not model.layers["l01"]._forward_hooks
