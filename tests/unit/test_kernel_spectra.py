"""Kernels in Fourier space: the convolution theorem, Parseval, and kinds that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eddyscope.analysis import kernel_spectra as ks
from eddyscope.spectral.shells import shell_counts

N = 32
RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("n", [16, 31, 32])
def test_convolution_theorem(side: int, n: int) -> None:
    weights = RANDOM.standard_normal((4, 3, side, side))
    field = RANDOM.standard_normal((2, 3, n, n))
    half = side // 2
    padded = torch.nn.functional.pad(torch.from_numpy(field), (half,) * 4, mode="circular")
    expected = torch.nn.functional.conv2d(padded, torch.from_numpy(weights)).numpy()
    field_hat = np.fft.fft2(field)
    found = np.fft.ifft2(np.einsum("jbyx,sbyx->sjyx", ks.transfer(weights, n), field_hat))
    assert np.abs(found.imag).max() < 1e-12
    assert np.abs(found.real - expected).max() < 1e-12


def test_spectra_of_an_even_kernel_are_real_only_if_its_centre_is_at_the_origin() -> None:
    blur = gaussian(1.0)
    assert np.abs(ks.transfer(blur, N).imag).max() < 1e-14


def test_parseval_and_shells_leave_nothing_out() -> None:
    weights = RANDOM.standard_normal((2, 2, 5, 5))
    maps = ks.gain(weights, N)
    assert np.allclose((maps**2).mean(axis=(-2, -1)), (weights**2).sum(axis=(-2, -1)))
    counts = shell_counts(N)
    assert np.allclose((ks.shell_gain(maps) ** 2 * counts).sum(-1), (maps**2).sum((-2, -1)))


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
        shape = ks.describe(ks.gain(kernel[None, None], n))
        assert ks.KINDS[shape.kind[0, 0]] == kind, (shape, kernel)


def test_measures_of_shape() -> None:
    def measures(kernel: np.ndarray) -> ks.Shape:
        return ks.describe(ks.gain(kernel[None, None], N))

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


def test_a_shift_moves_weights_but_not_the_gain() -> None:
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
