"""The half plane, and sums over shells, on it and on the full plane."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.spectral.half_plane import (
    from_columns,
    interpolated,
    kept_modes,
    modulus,
    to_modes,
    to_points,
    wavenumbers,
    weights,
)
from eddyscope.spectral.shells import (
    shell_counts,
    shell_index,
    sums_over_half_plane,
    sums_over_plane,
)


@pytest.fixture(params=[4, 8, 22, 30])
def n(request):
    return request.param


@pytest.fixture
def fields(n, rng):
    return rng.standard_normal((2, 3, n, n))


def test_points_come_back_from_their_modes(fields):
    np.testing.assert_allclose(to_points(to_modes(fields)), fields, atol=1e-13)


def test_weights_count_every_mode_of_the_full_plane_once(n):
    assert weights(n).sum() * n == n * n


def test_kept_modes_have_neither_mean_nor_nyquist(fields, n):
    kept, whole = kept_modes(fields), to_modes(fields)
    half = n // 2
    left = np.abs(wavenumbers(n)[1]) < half
    left = left & (wavenumbers(n)[0] < half) & (modulus(n) > 0)
    np.testing.assert_array_equal(kept, np.where(left, whole, 0))


def test_columns_of_the_solver_are_the_half_plane_without_nyquist(fields, n):
    plane = kept_modes(fields)
    columns = np.swapaxes(plane, -1, -2)[..., : n // 2, :]
    np.testing.assert_array_equal(from_columns(columns), plane)


@pytest.mark.parametrize("other", [4, 10, 40])
def test_interpolation_is_exact_where_both_grids_resolve(fields, n, other):
    found = interpolated(to_modes(fields), other)
    finer = interpolated(kept_modes(fields), max(n, other))
    np.testing.assert_array_equal(interpolated(finer, other), found)
    if other >= n:
        np.testing.assert_array_equal(interpolated(found, n), kept_modes(fields))


def test_shells_hold_k_minus_half_to_k_plus_half(n):
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(n, 1 / n)]))
    for shell in range(shell_index(n).max() + 1):
        inside = (k > shell - 0.5) & (k <= shell + 0.5)
        np.testing.assert_array_equal(shell_index(n) == shell, inside)
        assert shell_counts(n)[shell] == inside.sum()


def test_sums_up_to_the_corners_leave_nothing_out(fields):
    """Parseval: Σ_k S(k) is the mean of the square."""
    square = (fields**2).mean(axis=(-2, -1))
    plane = np.abs(np.fft.fft2(fields, norm="forward")) ** 2
    for found in (
        sums_over_half_plane(np.abs(to_modes(fields)) ** 2, corners=True),
        sums_over_plane(plane, corners=True),
    ):
        np.testing.assert_allclose(found.sum(axis=-1), square, rtol=1e-12)


def test_sums_without_corners_are_the_same_shells_up_to_half_the_grid(fields, n):
    density = np.abs(to_modes(fields))
    with_corners = sums_over_half_plane(density, corners=True)
    without = sums_over_half_plane(density)
    assert without.shape == (2, 3, n // 2 - 1)
    np.testing.assert_array_equal(without, with_corners[..., 1 : n // 2])
    assert with_corners.shape[-1] == shell_index(n).max() + 1
    full = sums_over_plane(np.abs(np.fft.fft2(fields, norm="forward")))
    np.testing.assert_allclose(without, full, rtol=1e-12)
