"""Sums that do not depend on the order of their terms, and shell spectra built on them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eddyscope.parallel.world import World
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.spectral.reductions import exact_sums
from small_flows import make_flow, make_transform_on, state_of

RANGES = {"even": 0, "wide": 12, "very wide": 60}
"""Decades that the terms spread over."""


@pytest.fixture(params=list(RANGES))
def terms(request, rng):
    """Two members' terms of both signs."""
    size = (2, 1999)
    decades = rng.uniform(-0.5, 0.5, size) * RANGES[request.param]
    return rng.standard_normal(size) * 10.0**decades


def sums(terms, count=None):
    return exact_sums(terms, count or terms.shape[-1], World.single().comm)


def test_sums_are_as_exact_as_fsum(terms):
    expected = [math.fsum(row) for row in terms]
    np.testing.assert_allclose(sums(terms), expected, rtol=1e-15)


def test_what_cancels_leaves_the_rest(rng):
    large = rng.standard_normal(500) * 1e9
    row = rng.permutation(np.concatenate([large, -large, [1e-9, 2e-9]]))
    np.testing.assert_allclose(sums(row[None])[0], math.fsum(row), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_sums_do_not_depend_on_the_order(terms, seed):
    order = np.random.default_rng(seed).permutation(terms.shape[1])
    np.testing.assert_array_equal(sums(terms), sums(terms[:, order]))


def test_nothing_sums_to_zero():
    assert sums(np.zeros((1, 4)))[0] == 0.0
    assert sums(np.zeros((1, 0)), count=1)[0] == 0.0


def test_sums_of_the_smallest_numbers_are_exact():
    tiny = np.array([[5e-324, 1e-320, -3e-322, 2e-323]])
    assert sums(tiny)[0] == math.fsum(tiny[0]) != 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden(bad):
    assert not np.isfinite(sums(np.array([[1.0, bad, 2.0]]))).any()


# --- Shells --------------------------------------------------------------------------------


@pytest.fixture(params=["float64", "float32"])
def precision(request):
    return request.param


def rough(transform, rng, decades):
    """Two members' coefficients of no smooth spectrum, over some decades."""
    size = (*transform.spectral_shape, 2)
    parts = rng.standard_normal(size) * 10.0 ** (decades * rng.uniform(-0.5, 0.5, size))
    return (parts @ [1.0, 1j] * transform.keep).astype(transform.grid.complex)


def plain_shells(transform, density):
    """Sums over shells, shape (member, shell), of float64 contributions of the coefficients
    stored, and of their sizes."""
    density = density * (transform.weight * transform.keep).astype(np.float64)
    k = np.hypot(transform.kx, transform.ky).astype(np.float64)
    inside = [((k > s - 0.5) & (k <= s + 0.5))[0] for s in range(1, transform.grid.n // 2)]
    found = [[math.fsum(member[shell]) for shell in inside] for member in density]
    sizes = [[math.fsum(np.abs(member[shell])) for shell in inside] for member in density]
    return np.array(found), np.array(sizes)


@pytest.mark.parametrize("decades", [0, 12])
@pytest.mark.parametrize("n", [8, 22, 34])
def test_spectra_are_plain_sums_over_shells(n, precision, decades, rng):
    transform = make_transform_on(World.single(), n, members=2, precision=precision)
    omega_hat, other = rough(transform, rng, decades), rough(transform, rng, decades)
    diagnostics = Diagnostics(make_flow(transform))
    found = diagnostics.spectra(omega_hat, other)
    w, a = omega_hat.astype(complex), other.astype(complex)
    square, transfer = w.real**2 + w.imag**2, w.real * a.real + w.imag * a.imag
    k2 = transform.kx.astype(float) ** 2 + transform.ky.astype(float) ** 2
    inverse = np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0)
    for name, density in {
        "energy": 0.5 * square * inverse,
        "enstrophy": 0.5 * square,
        "energy_flux": transfer * inverse,
        "enstrophy_flux": transfer,
    }.items():
        expected, sizes = plain_shells(transform, density)
        if name.endswith("flux"):
            expected, sizes = np.cumsum(expected, axis=1), np.cumsum(sizes, axis=1)
        assert np.all(np.abs(found[name] - expected) <= 8 * np.finfo(float).eps * sizes), name
    energy = diagnostics.energy_spectrum(omega_hat)
    np.testing.assert_array_equal(energy, found["energy"])


@pytest.mark.parametrize("n", [16, 22])
def test_shells_hold_k_minus_half_to_k_plus_half_of_the_full_plane(n):
    transform = make_transform_on(World.single(), n)
    omega_hat = state_of(transform, peak=n / 4)
    whole = transform.gather(omega_hat, n)[0][0]
    plane = np.abs(np.fft.fft2(np.fft.irfft2(whole, s=(n, n), norm="forward"), norm="forward")) ** 2
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(n, 1 / n)]))
    shells = [plane[(k > shell - 0.5) & (k <= shell + 0.5)].sum() for shell in range(1, n // 2)]
    found = Diagnostics(make_flow(transform)).spectra(omega_hat, omega_hat)
    np.testing.assert_allclose(found["enstrophy"][0], 0.5 * np.array(shells), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("kx", "ky", "shell"), [(0, -3, 3), (2, 0, 2), (3, -4, 5)])
def test_what_is_not_finite_stays_in_its_shell(bad, kx, ky, shell):
    transform = make_transform_on(World.single(), 16)
    omega_hat = state_of(transform)
    omega_hat[0, 0, kx, ky] = bad
    found = Diagnostics(make_flow(transform)).spectra(omega_hat, state_of(transform))
    shells = np.arange(1, 8)
    for name in ("energy", "enstrophy"):
        np.testing.assert_array_equal(np.isfinite(found[name][0]), shells != shell)
        np.testing.assert_array_equal(np.isfinite(found[f"{name}_flux"][0]), shells < shell)
