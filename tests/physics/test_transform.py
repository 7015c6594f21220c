"""Transforms and compiled loops against plain numpy, on one rank."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.flows.products import (
    advection_from_products,
    velocity_columns,
    velocity_products,
)
from eddyscope.parallel.world import World
from eddyscope.solver.budgets import QUANTITIES, budget_columns, sum_columns
from eddyscope.solver.updates import ab2cn_update, rk_update, subtract_waves
from eddyscope.spectral.backends.blocks import collect, put_block, spread, take_block
from eddyscope.spectral.grid import friendly_even
from small_flows import make_flow, make_transform_on, random_coefficients, state_of

SIZES = [8, 16, 18, 22, 30]
"""Powers of two and others, with n/2 even and odd."""

PRECISIONS = {"float64": 1e-14, "float32": 4e-6}
"""Precision -> what rounding may leave of a relative difference."""


@pytest.fixture(params=SIZES)
def n(request):
    return request.param


@pytest.fixture(params=list(PRECISIONS))
def precision(request):
    return request.param


def complex_noise(rng, shape, precision):
    kind = np.complex128 if precision == "float64" else np.complex64
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind)


def close(found, expected, precision):
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=PRECISIONS[precision] * 20 * scale)
    assert found.dtype == expected.dtype


def padded(whole, n_product):
    """Half plane of n modes -> half plane of n_product modes, the rest zero."""
    n = len(whole)
    half = n // 2
    wide = np.zeros((n_product, n_product // 2 + 1), complex)
    wide[:half, :half] = whole[:half, :half]
    wide[1 - half :, :half] = whole[1 - half :, :half]
    return wide


# --- Transforms ----------------------------------------------------------------------------


def test_backward_is_numpys_inverse_of_the_padded_modes(n, precision):
    transform = make_transform_on(World.single(), n, members=2, precision=precision)
    points = transform.backward(state_of(transform), transform.empty_physical())
    size = transform.grid.n_product
    assert points.shape == (2, 1, size, size)
    assert points.dtype == precision
    for member in range(2):
        wide = padded(random_coefficients(n, member), size)
        expected = np.fft.irfft2(wide, s=(size, size), norm="forward").astype(precision)
        close(points[member, 0], expected, precision)


def test_forward_is_numpys_transform_truncated(n, precision, rng):
    transform = make_transform_on(World.single(), n, members=2, precision=precision)
    field = rng.standard_normal(transform.physical_shape).astype(precision)
    field_hat = transform.forward(field, transform.zeros_spectral())
    assert field_hat.dtype == transform.grid.complex
    for member in range(2):
        whole = np.fft.fft2(field[member, 0].astype(float), norm="forward").T
        kept = whole[: n // 2, np.fft.fftfreq(n, 1 / n).astype(int)].copy()
        kept[:, n // 2] = 0
        close(field_hat[member, 0], kept.astype(field_hat.dtype), precision)


def test_round_trip_gives_the_modes_back(n, precision):
    transform = make_transform_on(World.single(), n, members=3, precision=precision)
    before = state_of(transform)
    kept = before.copy()
    points = transform.backward(before, transform.empty_physical())
    np.testing.assert_array_equal(before, kept)  # the input is left as it was
    close(transform.forward(points, transform.zeros_spectral()), kept, precision)


def test_nyquist_modes_do_not_reach_the_points(n):
    transform = make_transform_on(World.single(), n)
    clean, dirty = state_of(transform), state_of(transform)
    dirty[..., n // 2] = 7.0
    np.testing.assert_array_equal(
        transform.backward(clean, transform.empty_physical()),
        transform.backward(dirty, transform.empty_physical()),
    )


@pytest.mark.parametrize("dealias", [1.5, 2.0])
def test_product_of_band_limited_fields_is_the_direct_convolution(n, dealias, rng):
    transform = make_transform_on(World.single(), n, dealias=dealias)
    fields = [random_coefficients(n, member, peak=n / 3) for member in (0, 1)]
    hats = [transform.take(field)[None, None] for field in fields]
    first, second = (transform.backward(hat, transform.empty_physical()) for hat in hats)
    product_hat = transform.forward(first * second, transform.zeros_spectral())
    expected = convolution(*(full_plane(field) for field in fields))
    close(product_hat[0, 0], expected[: n // 2].astype(product_hat.dtype), "float64")


def full_plane(whole):
    """Half plane (ky, kx ≥ 0) of a real field -> (kx, ky), both in fftfreq order."""
    n = len(whole)
    return np.fft.fft2(np.fft.irfft2(whole, s=(n, n), norm="forward"), norm="forward").T


def convolution(a, b):
    """Σ over all pairs of modes with sums that are kept, by the definition."""
    n = len(a)
    half = n // 2
    k = range(1 - half, half)
    centred = np.zeros((2, 2 * half - 1, 2 * half - 1), complex)
    for at, field in zip(centred, (a, b), strict=True):
        at[...] = field[np.ix_(k, k)]
    full = np.zeros((4 * half - 3, 4 * half - 3), complex)
    for i in range(len(k)):
        for j in range(len(k)):
            full[i : i + len(k), j : j + len(k)] += centred[0, i, j] * centred[1]
    result = np.zeros((n, n), complex)
    middle = slice(half - 1, half - 1 + len(k))
    result[np.ix_(k, k)] = full[middle, middle]
    return result


@pytest.mark.parametrize("n_coarse", [4, 8, 14])
def test_gather_gives_the_whole_field_truncated(n_coarse):
    n = 18
    transform = make_transform_on(World.single(), n, members=2)
    gathered = transform.gather(state_of(transform), n_coarse)
    assert list(gathered) == [0, 1] == transform.owned
    half = n_coarse // 2
    for member, plane in gathered.items():
        whole = random_coefficients(n, member)
        expected = np.zeros((n_coarse, half + 1), complex)
        expected[:half, :half] = whole[:half, :half]
        expected[1 - half :, :half] = whole[1 - half :, :half]
        np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize(
    ("least", "size"), [(24.0, 24), (33.0, 36), (45.0, 48), (96.0, 96), (1.5 * 22, 36), (11, 12)]
)
def test_product_grids_are_even_and_smooth(least, size):
    assert friendly_even(least) == size


# --- Compiled loops and their numpy twins --------------------------------------------------


@pytest.fixture
def modes(n, precision, rng):
    """(ω̂, 1/k², kx, ky) of n modes, axes (kx, ky)."""
    transform = make_transform_on(World.single(), n, precision=precision)
    k2 = (transform.kx**2 + transform.ky**2)[0, 0]
    inverse = np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0)
    omega_hat = complex_noise(rng, (n // 2, n), precision)
    omega_hat[:, n // 2] = 0
    return omega_hat, inverse, transform.kx.ravel(), transform.ky.ravel()


def along_ky(modes, n_product):
    """Modes padded along ky with zeros."""
    n = modes.shape[1]
    wide = np.zeros((len(modes), n_product), modes.dtype)
    wide[:, : n // 2] = modes[:, : n // 2]
    wide[:, 1 - n // 2 :] = modes[:, 1 - n // 2 :]
    return wide


def test_velocity_columns(modes, n, precision, rng):
    omega_hat, inverse, kx, ky = modes
    n_product = friendly_even(1.5 * n)
    columns = complex_noise(rng, (2, n // 2, n_product), precision)  # rubbish to be replaced
    velocity_columns(omega_hat, inverse, kx, ky, *columns)
    psi_hat = omega_hat * inverse
    i = psi_hat.dtype.type(1j)
    u_hat, v_hat = i * ky * psi_hat, -i * kx[:, None] * psi_hat
    close(columns[0], along_ky(u_hat + i * v_hat, n_product), precision)
    close(columns[1], along_ky(u_hat - i * v_hat, n_product), precision)


def test_velocity_products(precision, rng):
    u, v = rng.standard_normal((2, 5, 12)).astype(precision)
    points = np.empty(u.shape, "complex128" if precision == "float64" else "complex64")
    points.real, points.imag = u, v
    maxima = np.zeros(u.shape[1], precision)
    velocity_products(points, maxima)
    close(points, u * v + 1j * (v * v - u * u), precision)
    np.testing.assert_array_equal(maxima, (np.abs(u) + np.abs(v)).max(axis=0))
    velocity_products(np.zeros_like(points), maxima)
    assert np.all(maxima > 0)  # maxima found before stay


@pytest.mark.parametrize("place", [(0, 0), (2, 5), (4, 11)])
def test_a_velocity_that_is_not_a_number_is_not_lost(place):
    """Also where numbers come after it, as in the rows of zeros that fill a block."""
    points, maxima = np.ones((5, 12), complex), np.zeros(12)
    points.imag[place] = np.nan
    velocity_products(points, maxima)
    assert np.isnan(maxima[place[1]])
    velocity_products(np.zeros((5, 12), complex), maxima)
    assert np.isnan(maxima[place[1]])


def test_advection_from_products(modes, n, precision, rng):
    _, _, kx, ky = modes
    n_product = friendly_even(1.5 * n)
    columns = complex_noise(rng, (2, n // 2, n_product), precision)
    out = complex_noise(rng, (n // 2, n), precision)
    scale = np.dtype(precision).type(0.25)
    advection_from_products(*columns, kx, ky, scale, out)
    plus, minus = columns[..., ky.astype(int)]
    uv, difference = (plus + minus) / 2, (plus - minus) / 2j
    expected = 2 * scale * ((ky**2 - kx[:, None] ** 2) * uv - kx[:, None] * ky * difference)
    expected[:, n // 2] = 0
    close(out, expected, precision)


def test_ab2cn_update(precision, rng):
    omega_hat, advection, previous = complex_noise(rng, (3, 4, 8), precision)
    before, inverse = rng.random((2, 4, 8)).astype(precision)
    now, then = np.array([0.15, 0.05], precision)
    expected = (before * omega_hat - now * advection + then * previous) * inverse
    ab2cn_update(omega_hat, advection, previous, before, inverse, now, then)
    close(omega_hat, expected.astype(omega_hat.dtype), precision)
    np.testing.assert_array_equal(previous, advection)


@pytest.mark.parametrize("waves", [False, True])
def test_rk_update(precision, rng, waves):
    omega_hat, loss, increment = complex_noise(rng, (3, 4, 8), precision)
    decay = rng.random((4, 8)).astype(precision)
    if waves:  # with them, the factor turns a mode's phase
        decay = decay * complex_noise(rng, (4, 8), precision)
    a, b, dt = np.array([-0.5, 0.9, 0.1], precision)
    change = a * increment - dt * loss
    expected = decay * (omega_hat + b * change)
    rk_update(omega_hat, loss, increment, decay, a, b, dt)
    close(omega_hat, expected, precision)
    close(increment, decay * change, precision)


def test_subtract_waves(precision, rng):
    loss, omega_hat = complex_noise(rng, (2, 4, 8), precision)
    dispersion = rng.standard_normal((4, 8)).astype(precision)
    expected = loss - loss.dtype.type(1j) * dispersion * omega_hat
    subtract_waves(loss, dispersion, omega_hat)
    close(loss, expected, precision)


def test_budget_columns(precision, rng):
    omega_hat, f_hat = complex_noise(rng, (2, 4, 8), precision)
    k2, inverse_k2, loss = rng.random((3, 4, 8))
    weight, found = np.array([1.0, 2.0, 2.0, 2.0]), np.full((len(QUANTITIES), 4), np.nan)
    budget_columns(omega_hat, f_hat, k2, inverse_k2, loss, weight, found)
    w, f = omega_hat.astype(complex), f_hat.astype(complex)
    square, work = np.abs(w) ** 2, -(w.conj() * f).real
    terms = {
        "energy": 0.5 * square * inverse_k2,
        "enstrophy": 0.5 * square,
        "palinstrophy": 0.5 * square * k2,
        "energy_input": work * inverse_k2,
        "enstrophy_input": work,
        "energy_dissipation": loss * square * inverse_k2,
        "enstrophy_dissipation": loss * square,
    }
    for name, sums in zip(QUANTITIES, found, strict=True):
        close(sums, weight * terms[name].sum(axis=1), precision)


def test_sum_columns(rng):
    values, inverse_k2 = rng.standard_normal((2, 4, 8))
    weight, found = np.array([1.0, 2.0, 2.0, 2.0]), np.full((2, 4), np.nan)
    sum_columns(values, inverse_k2, weight, found)
    expected = weight * np.stack([(values * inverse_k2).sum(axis=1), values.sum(axis=1)])
    close(found, expected, "float64")


@pytest.mark.parametrize(("first", "rows"), [(0, 4), (1, 4), (2, 3), (4, 1)])
@pytest.mark.parametrize("starts", [(0, 19), (0, 2, 19), (0, 1, 9, 19), (0, 8, 16, 18, 19)])
def test_blocks_go_out_and_come_back(first, rows, starts, precision, rng):
    """Five rows of nineteen columns, which each rank has and has been sent in turn."""
    n, edges = 40, np.array(starts)
    whole = complex_noise(rng, (2, 19, 5), precision)
    parts = np.split(whole, starts[1:-1], axis=1)
    of_rows = slice(first, first + rows)
    for rank in range(len(parts)):
        received = np.concatenate(
            [part.ravel() for r, part in enumerate(parts) if r != rank] or [[]]
        )
        mine, received = parts[rank].copy(), received.astype(whole.dtype)
        block = complex_noise(rng, (4, n), precision)
        take_block(mine, received, rank, edges, block, first, rows)
        expected = one_of_two(whole[:, :, of_rows], n)
        close(block[:rows], expected.astype(block.dtype), precision)
        assert not block[rows:].any()
        again = complex_noise(rng, whole.shape, precision)
        back = [part.copy() for part in np.split(again, starts[1:-1], axis=1)]
        others = np.concatenate([part.ravel() for r, part in enumerate(back) if r != rank] or [[]])
        others = others.astype(whole.dtype)
        put_block(back[rank], others, rank, edges, block, first, rows)
        again[:, :, of_rows] = whole[:, :, of_rows]
        again[:, 0, of_rows] = of_real_means(whole[:, 0, of_rows])
        expected_parts = np.split(again, starts[1:-1], axis=1)
        close(back[rank], expected_parts[rank], precision)
        sent = [part.ravel() for r, part in enumerate(expected_parts) if r != rank]
        if sent:
            close(others, np.concatenate(sent), precision)


@pytest.mark.parametrize("tops", [(0, 12), (0, 5, 12), (0, 1, 1, 8, 12)])
def test_columns_are_spread_over_ranks_and_collected(tops, precision, rng):
    """Seven columns of twelve points, three at a time; one rank may have no rows."""
    fields = complex_noise(rng, (2, 7, 12), precision)
    sent = np.empty(fields.size, fields.dtype)
    for f, field in enumerate(fields):
        for at in (0, 3, 6):
            spread(field[at : at + 3], sent, f, at, 7, np.array(tops))
    parts = np.split(fields, tops[1:-1], axis=2)
    np.testing.assert_array_equal(sent, np.concatenate([part.ravel() for part in parts]))
    for f, field in enumerate(fields):
        for at in (0, 3, 6):
            found = np.empty_like(field[at : at + 3])
            collect(found, sent, f, at, 7, np.array(tops))
            np.testing.assert_array_equal(found, field[at : at + 3])


def of_real_means(columns):
    """û ± iv̂ at kx = 0 as they are when the means along x of u and v are real."""
    plus, minus = columns
    return np.stack([plus + minus.conj(), plus.conj() + minus]) / 2


def one_of_two(columns, n):
    """Coefficients of u + iv along x from û ± iv̂, by way of the points."""
    plus, minus = columns
    hats = np.stack([(plus + minus) / 2, (plus - minus) / 2j])
    u, v = np.fft.irfft(hats, n, axis=1, norm="forward")
    return np.fft.fft(u + 1j * v, axis=0, norm="forward").T


def test_advection_is_the_gradient_form_on_a_fine_grid(n, precision):
    """u·∇ω with dense transforms and twofold padding: another formula, another grid."""
    transform = make_transform_on(World.single(), n, precision=precision)
    flow = make_flow(transform)
    found = flow.advection(state_of(transform), transform.zeros_spectral())
    expected = transform.take(gradient_form(random_coefficients(n)))
    close(found[0, 0], expected.astype(found.dtype), precision)
    fastest = flow.max_velocity()
    assert fastest.shape == (1,) and fastest[0] > 0


def gradient_form(whole):
    n = len(whole)
    wide = padded(whole, 2 * n)
    ky = np.fft.fftfreq(2 * n, 0.5 / n)[:, None]
    kx = np.arange(n + 1)[None, :]
    k2 = kx**2 + ky**2
    psi = np.divide(wide, k2, out=np.zeros_like(wide), where=k2 > 0)
    u, v, omega_x, omega_y = (
        np.fft.irfft2(hat, s=(2 * n, 2 * n), norm="forward")
        for hat in (1j * ky * psi, -1j * kx * psi, 1j * kx * wide, 1j * ky * wide)
    )
    product = np.fft.rfft2(u * omega_x + v * omega_y, norm="forward")
    keep = np.r_[0 : n // 2, -(n // 2) : 0]
    kept = product[keep, : n // 2 + 1].copy()
    kept[n // 2] = 0
    kept[:, n // 2] = 0
    return kept
