"""Spectra of activations: Parseval, known fields, chunking, and what the ReLU does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from eddyscope.analysis import activation_spectra as acts
from eddyscope.parallel.world import World

N = 16


class TwoLayers:
    """A known network: l01 blurs each channel in place, l02 adds the channels up."""

    def __call__(self, x: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        h = (x + torch.roll(x, 1, dims=-1)) / 2
        g = torch.relu(h)
        yield "l01", h, g
        out = g.sum(dim=1, keepdim=True)
        yield "l02", out, out


def probe(samples: torch.Tensor) -> acts.Probe:
    return acts.Probe(TwoLayers(), samples)


@pytest.fixture(name="alone")
def _alone() -> World:
    return World.single()


def random_samples(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, N, N, generator=generator, dtype=torch.float64)


def test_parseval_at_every_layer(alone: World) -> None:
    x = random_samples(5)
    found = acts.measure(alone, {"a": probe(x)})["a"]
    assert found.layers == ("l01", "l02")
    for layer, (_, h, g) in enumerate(TwoLayers()(x)):
        assert found.before[layer].sum() == pytest.approx(float((h**2).mean()), rel=1e-12)
        assert found.after[layer].sum() == pytest.approx(float((g**2).mean()), rel=1e-12)
        assert found.active[layer] == pytest.approx(float((h > 0).double().mean()), rel=1e-12)
    assert np.allclose(found.inputs.sum(axis=1), (x**2).mean(dim=(0, 2, 3)).numpy(), rtol=1e-12)


def test_a_wave_has_its_power_in_its_shell_and_the_relu_spreads_it(alone: World) -> None:
    wave = torch.cos(3 * 2 * torch.pi * torch.arange(N, dtype=torch.float64) / N)
    x = wave.expand(1, 2, N, N).clone()
    found = acts.measure(alone, {"wave": probe(x)})["wave"]
    factor = np.cos(3 * np.pi / N) ** 2  # the blur's gain at k = 3, squared
    assert found.inputs[:, 3] == pytest.approx([0.5, 0.5])
    assert found.before[0, 3] == pytest.approx(0.5 * factor)
    assert np.delete(found.before[0], 3).max() < 1e-25
    # max(cos, 0) = 1/π + cos/2 + (2/3π) cos 2· − …: half the amplitude, and k = 0 and 6 appear.
    assert found.after[0, 3] == pytest.approx(found.before[0, 3] / 4, rel=0.05)
    assert found.after[0, 0] > 0.05 and found.after[0, 6] > 0.01


def test_the_mean_is_over_samples_whatever_the_chunks(alone: World) -> None:
    x = random_samples(7)
    whole = acts.measure(alone, {"x": probe(x)})["x"]
    singles = [acts.measure(alone, {"x": probe(x[i : i + 1])})["x"] for i in range(7)]
    assert np.allclose(whole.before, np.mean([s.before for s in singles], axis=0), rtol=1e-12)
    assert np.allclose(whole.active, np.mean([s.active for s in singles], axis=0), rtol=1e-12)


def test_several_probes_are_kept_apart(alone: World) -> None:
    small, large = random_samples(3, seed=1), 10 * random_samples(4, seed=2)
    both = acts.measure(alone, {"small": probe(small), "large": probe(large)})
    for name, samples in (("small", small), ("large", large)):
        only = acts.measure(alone, {name: probe(samples)})[name]
        assert np.array_equal(both[name].before, only.before)
        assert np.array_equal(both[name].after, only.after)


def test_shell_power_is_by_channel_and_sample() -> None:
    x = random_samples(3)
    power = acts.shell_power(x)
    assert power.shape[:2] == (3, 2)
    assert np.allclose(power.sum(axis=-1), (x**2).mean(dim=(-2, -1)).numpy(), rtol=1e-12)
