"""Sums that do not depend on the order of their terms, and shell spectra built on them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eddyscope.parallel.world import World
from eddyscope.spectral.reductions import ModeSums, exact_sums
from small_flows import make_transform_on, state_of

RANGES = {"even": 0, "wide": 12, "very wide": 60}
"""Decades that the terms spread over."""


@pytest.fixture(params=list(RANGES))
def terms(request, rng):
    """Two members' terms of both signs."""
    size = (2, 1999)
    decades = rng.uniform(-0.5, 0.5, size) * RANGES[request.param]
    return rng.standard_normal(size) * 10.0**decades


def sums(terms, bins=None, n_bins=1, count=None):
    comm = World.single().comm
    return exact_sums(terms, bins, n_bins, count or terms.shape[1], comm)


def test_sums_are_as_exact_as_fsum(terms):
    expected = [math.fsum(row) for row in terms]
    np.testing.assert_allclose(sums(terms)[:, 0], expected, rtol=1e-15)


def test_what_cancels_leaves_the_rest(rng):
    large = rng.standard_normal(500) * 1e9
    row = rng.permutation(np.concatenate([large, -large, [1e-9, 2e-9]]))
    np.testing.assert_allclose(sums(row[None])[0, 0], math.fsum(row), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_sums_do_not_depend_on_the_order(terms, seed):
    order = np.random.default_rng(seed).permutation(terms.shape[1])
    np.testing.assert_array_equal(sums(terms), sums(terms[:, order]))


def test_bins_are_summed_apart_and_the_last_is_left_out(terms, rng):
    bins = rng.integers(0, 6, terms.shape[1])
    found = sums(terms, bins, n_bins=5)
    assert found.shape == (2, 5)
    for b in range(5):
        expected = [math.fsum(row[bins == b]) for row in terms]
        np.testing.assert_allclose(found[:, b], expected, rtol=1e-15)


def test_nothing_sums_to_zero():
    assert sums(np.zeros((1, 4)))[0, 0] == 0.0
    assert sums(np.zeros((1, 0)), count=1)[0, 0] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden(bad):
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(sums(np.array([[1.0, bad, 2.0]]))).any()


@pytest.mark.parametrize("n", [16, 22])
def test_shells_hold_k_minus_half_to_k_plus_half_of_the_full_plane(n):
    transform = make_transform_on(World.single(), n)
    omega_hat = state_of(transform, peak=n / 4)
    density = omega_hat.real**2 + omega_hat.imag**2
    whole = transform.gather(omega_hat, n)[0]
    plane = np.abs(np.fft.fft2(np.fft.irfft2(whole, s=(n, n), norm="forward"), norm="forward")) ** 2
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(n, 1 / n)]))
    shells = [plane[(k > shell - 0.5) & (k <= shell + 0.5)].sum() for shell in range(1, n // 2)]
    mode_sums = ModeSums(transform)
    np.testing.assert_allclose(mode_sums.shells(density)[0], shells, rtol=1e-12)
    np.testing.assert_allclose(mode_sums.total(density), plane.sum(), rtol=1e-12)
