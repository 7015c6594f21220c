"""Kernels in Fourier space: the convolution theorem, Parseval, and kinds that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from eddyscope.analysis import kernel_spectra as ks
from eddyscope.analysis.convolutions import grids_of, kernel_count, kernels_of, left_out
from eddyscope.analysis.groups import kernel_groups
from eddyscope.artefacts.key import ModelKey
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import NETWORKS
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World
from eddyscope.spectral.shells import shell_counts

N = 32
ONE = Channels.of_flow()
RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize(
    "sides", [(1, 1), (3, 3), (5, 5), (7, 7), (2, 4), (1, 6), (17, 17), (40, 3)]
)
@pytest.mark.parametrize("n", [16, 31, 32])
def test_convolution_theorem(sides: tuple[int, int], n: int) -> None:
    """Of kernels of any sides, even ones and those wider than the grid, which go round it."""
    weights = RANDOM.standard_normal((4, 3, *sides))
    field = RANDOM.standard_normal((2, 3, n, n))
    (top, bottom), (left, right) = ((s // 2, s - 1 - s // 2) for s in sides)
    around = np.pad(field, ((0, 0), (0, 0), (top, bottom), (left, right)), mode="wrap")
    padded = torch.from_numpy(around)
    expected = torch.nn.functional.conv2d(padded, torch.from_numpy(weights)).numpy()
    field_hat = np.fft.fft2(field)
    response = ks.frequency_response(weights, n)
    found = np.fft.ifft2(np.einsum("jbyx,sbyx->sjyx", response, field_hat))
    assert np.abs(found.imag).max() < 1e-11
    assert np.abs(found.real - expected).max() < 1e-11


@pytest.mark.parametrize("side", [5, 17])
def test_a_map_of_fewer_points_has_every_second_wavenumber(side: int) -> None:
    weights = RANDOM.standard_normal((1, 2, side, side))
    whole, half = ks.amplification(weights, 32), ks.amplification(weights, 16)
    assert np.allclose(half, whole[..., ::2, ::2])


def test_spectra_of_an_even_kernel_are_real_only_if_its_centre_is_at_the_origin() -> None:
    blur = gaussian(1.0)
    assert np.abs(ks.frequency_response(blur, N).imag).max() < 1e-14


def test_parseval_and_shells_leave_nothing_out() -> None:
    weights = RANDOM.standard_normal((2, 2, 5, 5))
    maps = ks.amplification(weights, N)
    assert np.allclose((maps**2).mean(axis=(-2, -1)), (weights**2).sum(axis=(-2, -1)))
    counts = shell_counts(N)
    assert np.allclose(
        (ks.shell_amplification(maps) ** 2 * counts).sum(-1), (maps**2).sum((-2, -1))
    )


def gaussian(sigma: float) -> np.ndarray:
    y, x = np.mgrid[-2:3, -2:3]
    blur = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return blur / blur.sum()


def gabor(angle: float, k: float) -> np.ndarray:
    """Two lobes at k (in units of the Nyquist wavenumber) along `angle`, zero mean."""
    y, x = np.mgrid[-3:4, -3:4]
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = np.cos(np.pi * k * along) * np.exp(-(x**2 + y**2) / 5.0)
    envelope = np.exp(-(x**2 + y**2) / 5.0)
    return wave - envelope * wave.sum() / envelope.sum()


def padded(kernel: list[list[float]]) -> np.ndarray:
    return np.pad(np.array(kernel, dtype=float), 1)


KNOWN = {
    "low-pass": [gaussian(1.0), gaussian(2.0), -0.3 * gaussian(0.8)],
    "high-pass": [padded([[0, 1, 0], [1, -4, 1], [0, 1, 0]])],
    "band-pass": [gaussian(0.7) - gaussian(2.0)],
    "Gabor": [gabor(a, 0.5) for a in (0.0, np.pi / 4, np.pi / 2, 2.0)]
    + [padded([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])],
    "all-pass": [
        padded([[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
        padded([[0, 0, 0.7], [0] * 3, [0] * 3]),
    ],
    "silent": [np.zeros((5, 5))],
}


@pytest.mark.parametrize("n", [16, 32, 64])
@pytest.mark.parametrize("kind", KNOWN)
def test_known_kernels_are_told_apart(kind: str, n: int) -> None:
    for kernel in KNOWN[kind]:
        shape = ks.describe(ks.amplification(kernel[None, None], n))
        assert ks.KINDS[shape.kind[0, 0]] == kind, (shape, kernel)


def test_measures_of_shape() -> None:
    def measures(kernel: np.ndarray) -> ks.Shape:
        return ks.describe(ks.amplification(kernel[None, None], N))

    blur, laplacian = measures(KNOWN["low-pass"][0]), measures(KNOWN["high-pass"][0])
    lobes, wave = measures(gabor(0.3, 0.5)), measures(gabor(np.pi / 2, 0.5))
    assert blur.centroid < 0.45 < 0.77 < laplacian.centroid
    assert blur.zero_share == pytest.approx(1.0)
    assert laplacian.zero_share == pytest.approx(0.0, abs=1e-12)
    assert laplacian.peak == pytest.approx(np.sqrt(2))
    assert blur.anisotropy < 1e-12 and laplacian.anisotropy < 1e-12
    assert lobes.anisotropy > 0.6 and wave.anisotropy > 0.6
    assert wave.peak == pytest.approx(0.5, abs=0.1)
    delta = measures(KNOWN["all-pass"][0])
    assert delta.centroid == pytest.approx(0.765, abs=0.01)


def test_change_is_bounded_and_compared_with_the_null() -> None:
    before = RANDOM.standard_normal((8, 8, 5, 5))
    after = before.copy()
    after[3, 2] = RANDOM.standard_normal((5, 5))
    change = ks.change(before, after, N, seed=1)
    assert np.argmax(change.weights) == np.argmax(change.spectrum) == 3 * 8 + 2
    assert np.all(change.spectrum <= change.weights + 1e-12)
    assert np.count_nonzero(change.weights) == 1
    assert change.weights[3, 2] == pytest.approx(np.linalg.norm(after[3, 2] - before[3, 2]))
    # Another random kernel is about as different as the null says another kernel is.
    assert 0.4 < change.over_null[3, 2] < 2.5
    assert change.null == ks.change(before, after, N, seed=1).null


def test_a_shift_moves_weights_but_not_the_amplification() -> None:
    before = np.zeros((2, 1, 5, 5))
    before[:, :, 1:4, 1:4] = RANDOM.standard_normal((2, 1, 3, 3))
    change = ks.change(before, np.roll(before, 1, axis=-1), N, seed=1)
    assert change.weights.min() > 0.1
    assert change.spectrum.max() < 1e-12


def test_a_layer_of_one_kernel_has_no_null() -> None:
    one = RANDOM.standard_normal((1, 1, 5, 5))
    change = ks.change(one, 2 * one, N, seed=1)
    assert np.isnan(change.null) and np.isnan(change.over_null).all()
    assert change.relative == pytest.approx(1.0)


# --- Which layers have kernels -------------------------------------------------------------


class Mixed(nn.Module):
    """A strided layer, one with holes, one of a kind that is no convolution, one on a coarser
    grid, one of 1 × 1 points."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(2, 4, 2, stride=2)
        self.holes = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, padding_mode="circular")
        self.norm = nn.GroupNorm(2, 4)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.point = nn.Conv2d(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.point(self.up(self.norm(self.holes(torch.relu(self.strided(x))))))


def mixed() -> LayeredModel:
    torch.manual_seed(2)
    module = Mixed()
    layers = dict(zip(("l01", "l02", "l03", "l04", "l05"), module.children(), strict=True))
    return LayeredModel(module, layers, NETWORKS.settings("cnn"), ONE)


def test_layers_that_are_no_convolutions_are_left_out_and_named() -> None:
    model = mixed()
    kernels = kernels_of(model)
    shapes = {name: weights.shape for name, weights in kernels.items()}
    assert shapes == {"l01": (4, 2, 2, 2), "l02": (4, 2, 5, 5), "l05": (1, 4, 1, 1)}
    assert left_out(model) == {"l03": "GroupNorm", "l04": "ConvTranspose2d"}
    assert grids_of(model, N) == {"l01": 32, "l02": 16, "l03": 16, "l04": 16, "l05": 32}
    assert np.count_nonzero(kernels["l02"][0, 0]) == 9
    assert kernel_count(NETWORKS.settings("cnn", depth=3, width=4), ONE) == 28


def test_any_network_is_surveyed() -> None:
    model = mixed()
    changed = model.copy()
    with torch.no_grad():
        for name in ("l01", "l02", "l03", "l05"):
            for parameter in changed.parameters_of(name).values():
                parameter.add_(0.1)
    models = {ModelKey(): model, ModelKey("all"): changed}
    untrained = mixed()
    with torch.no_grad():
        untrained.layers["l01"].weight[:] = 1.0
    groups = kernel_groups(World.single(), models, N, seed=1, maps=True, untrained=untrained)
    layers = ("l01", "l02", "l05")
    assert {f"kernels/{m}/{name}" for m in ("base", "all") for name in layers} < groups.keys()
    sizes = {name: groups[f"kernels/base/{name}"].sizes["wavenumber"] for name in layers}
    assert sizes == {"l01": 24, "l02": 12, "l05": 24}, "shells up to the corners of each grid"
    for name in layers:
        null, trained = groups[f"random/{name}"].kind, groups[f"kernels/base/{name}"].kind
        assert np.array_equal(null, trained) == (name != "l01"), name
    moved = groups["most_changed/all"]
    assert moved.weights_after.shape == (8, 5, 5) and moved.map_after.shape == (8, N, N)
    for place, name in enumerate(moved.layer.values):
        known = np.isfinite(moved.map_after.values[place])
        assert known.sum() == (16**2 if name == "l02" else N**2)
    assert list(groups["changes"].layer.values) == list(layers)


@pytest.mark.parametrize("side", [16, 17, 33])
def test_wide_kernels_on_a_fine_grid_are_surveyed(side: int) -> None:
    """Maps have fewer points than the grid, but never fewer than a kernel."""
    layer = nn.Conv2d(2, 1, side, padding=side // 2)
    model = LayeredModel(nn.Sequential(layer), {"l01": layer}, NETWORKS.settings("cnn"), ONE)
    groups = kernel_groups(World.single(), {ModelKey(): model}, 36, seed=1, maps=True)
    assert groups["kernels/base/l01"].sizes["ky"] == min(36, 2 * side)


def test_a_network_without_convolutions_has_no_kernels() -> None:
    layer = nn.Linear(N, N)
    model = LayeredModel(nn.Sequential(layer), {"l01": layer}, NETWORKS.settings("cnn"), ONE)
    models = {ModelKey(): model, ModelKey("all"): model.copy()}
    assert kernel_groups(World.single(), models, N, seed=1, maps=True) == {}
    assert left_out(model) == {"l01": "Linear"}
