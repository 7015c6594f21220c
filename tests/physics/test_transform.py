"""Transforms and compiled loops against plain numpy, on one rank."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.parallel.world import World
from eddyscope.solver.budgets import QUANTITIES, add_budget_columns, add_sum_columns
from eddyscope.spectral.grid import friendly_even
from eddyscope.spectral.kernels.products import (
    advection_from_products,
    velocity_columns,
    velocity_products,
)
from eddyscope.spectral.kernels.transposes import (
    columns_to_rows,
    pack,
    rows_to_columns,
    unpack,
)
from eddyscope.spectral.kernels.updates import ab2cn_update, rk_update, subtract_waves
from eddyscope.spectral.registry import TRANSFORMS
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


@pytest.fixture(params=list(TRANSFORMS))
def kind(request):
    return request.param


def test_points_are_numpys_inverse_of_the_padded_modes(n, precision, kind):
    transform = make_transform_on(World.single(), n, members=2, precision=precision, kind=kind)
    points = transform.to_host(transform.to_points(state_of(transform)))
    size = transform.grid.n_product
    assert points.shape == (2, 1, size, size)
    assert points.dtype == precision
    for member in range(2):
        wide = padded(random_coefficients(n, member), size)
        expected = np.fft.irfft2(wide, s=(size, size), norm="forward").astype(precision)
        close(points[member, 0], expected, precision)


def test_modes_are_numpys_transform_truncated(n, precision, kind, rng):
    transform = make_transform_on(World.single(), n, members=2, precision=precision, kind=kind)
    field = rng.standard_normal(transform.physical_shape).astype(precision)
    field_hat = transform.to_host(transform.to_modes(transform.from_host(field)))
    assert field_hat.dtype == transform.grid.complex
    for member in range(2):
        whole = np.fft.fft2(field[member, 0].astype(float), norm="forward").T
        kept = whole[: n // 2, np.fft.fftfreq(n, 1 / n).astype(int)].copy()
        kept[:, n // 2] = 0
        close(field_hat[member, 0], kept.astype(field_hat.dtype), precision)


def test_nyquist_modes_do_not_reach_the_points(n, kind):
    transform = make_transform_on(World.single(), n, kind=kind)
    clean, dirty = state_of(transform), state_of(transform)
    dirty[..., n // 2] = 7.0
    points = [transform.to_host(transform.to_points(state)) for state in (clean, dirty)]
    np.testing.assert_array_equal(*points)


@pytest.mark.parametrize("dealias", [1.5, 2.0])
def test_product_of_band_limited_fields_is_the_direct_convolution(n, dealias, kind, rng):
    transform = make_transform_on(World.single(), n, dealias=dealias, kind=kind)
    fields = [random_coefficients(n, member, peak=n / 3) for member in (0, 1)]
    first, second = (transform.to_points(transform.take(field)) for field in fields)
    product_hat = transform.to_host(transform.to_modes(first * second))
    expected = convolution(*(full_plane(field) for field in fields))
    close(product_hat, expected[: n // 2].astype(product_hat.dtype), "float64")


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
        expected = np.zeros((1, n_coarse, half + 1), complex)
        expected[0, :half, :half] = whole[:half, :half]
        expected[0, 1 - half :, :half] = whole[1 - half :, :half]
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


@pytest.mark.parametrize("layer_weight", [1.0, 0.25, 0.0])
def test_budget_columns(precision, rng, layer_weight):
    """Of two layers; added to what is there."""
    omega_hat, other, f_hat = complex_noise(rng, (3, 4, 8), precision)
    k2, energy_weight, loss = rng.random((3, 4, 8))
    weight, before = np.array([1.0, 2.0, 2.0, 2.0]), rng.random((len(QUANTITIES), 4))
    found = before.copy()
    rates = k2, energy_weight, loss, weight
    add_budget_columns(omega_hat, other, f_hat, *rates, layer_weight, found)
    w, v, f = omega_hat.astype(complex), other.astype(complex), f_hat.astype(complex)
    square, work = (w.conj() * v).real, -(w.conj() * f).real
    terms = {
        "energy": 0.5 * square * energy_weight,
        "enstrophy": 0.5 * square * layer_weight,
        "palinstrophy": 0.5 * square * k2 * layer_weight,
        "energy_input": work * energy_weight,
        "enstrophy_input": work * layer_weight,
        "energy_dissipation": loss * square * energy_weight,
        "enstrophy_dissipation": loss * square * layer_weight,
    }
    for name, sums, start in zip(QUANTITIES, found, before, strict=True):
        close(sums, start + weight * terms[name].sum(axis=1), precision)


def test_sum_columns(rng):
    values, energy_weight = rng.standard_normal((2, 4, 8))
    weight, found = np.array([1.0, 2.0, 2.0, 2.0]), np.ones((2, 4))
    add_sum_columns(values, energy_weight, weight, 0.5, found)
    sums = np.stack([(values * energy_weight).sum(axis=1), 0.5 * values.sum(axis=1)])
    close(found, 1.0 + weight * sums, "float64")


@pytest.mark.parametrize(("first", "rows"), [(0, 4), (1, 4), (2, 3), (4, 1)])
@pytest.mark.parametrize("columns_from", [(0, 19), (0, 2, 19), (0, 1, 9, 19), (0, 8, 16, 18, 19)])
def test_blocks_go_out_and_come_back(first, rows, columns_from, precision, rng):
    """Five rows of nineteen columns, which each rank has and gets in turn."""
    n, edges = 40, np.array(columns_from)
    whole = complex_noise(rng, (2, 19, 5), precision)
    parts = np.split(whole, columns_from[1:-1], axis=1)
    of_rows = slice(first, first + rows)
    for rank in range(len(parts)):
        incoming = np.concatenate(
            [part.ravel() for r, part in enumerate(parts) if r != rank] or [[]]
        )
        own, incoming = parts[rank].copy(), incoming.astype(whole.dtype)
        block = complex_noise(rng, (4, n), precision)
        columns_to_rows(own, incoming, rank, edges, block, first, rows)
        expected = one_of_two(whole[:, :, of_rows], n)
        close(block[:rows], expected.astype(block.dtype), precision)
        assert not block[rows:].any()
        again = complex_noise(rng, whole.shape, precision)
        back = [part.copy() for part in np.split(again, columns_from[1:-1], axis=1)]
        others = np.concatenate([part.ravel() for r, part in enumerate(back) if r != rank] or [[]])
        others = others.astype(whole.dtype)
        rows_to_columns(back[rank], others, rank, edges, block, first, rows)
        again[:, :, of_rows] = whole[:, :, of_rows]
        again[:, 0, of_rows] = of_real_means(whole[:, 0, of_rows])
        expected_parts = np.split(again, columns_from[1:-1], axis=1)
        close(back[rank], expected_parts[rank], precision)
        expected_others = [part.ravel() for r, part in enumerate(expected_parts) if r != rank]
        if expected_others:
            close(others, np.concatenate(expected_others), precision)


@pytest.mark.parametrize("rows_from", [(0, 12), (0, 5, 12), (0, 1, 1, 8, 12)])
def test_columns_are_packed_for_ranks_and_unpacked(rows_from, precision, rng):
    """Seven columns of twelve points, three at a time; one rank may have no rows."""
    fields = complex_noise(rng, (2, 7, 12), precision)
    outgoing = np.empty(fields.size, fields.dtype)
    for f, field in enumerate(fields):
        for at in (0, 3, 6):
            pack(field[at : at + 3], outgoing, f, at, 7, np.array(rows_from))
    parts = np.split(fields, rows_from[1:-1], axis=2)
    np.testing.assert_array_equal(outgoing, np.concatenate([part.ravel() for part in parts]))
    for f, field in enumerate(fields):
        for at in (0, 3, 6):
            found = np.empty_like(field[at : at + 3])
            unpack(found, outgoing, f, at, 7, np.array(rows_from))
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


def test_advection_is_the_gradient_form_on_a_fine_grid(n, precision, kind):
    """u·∇ω with dense transforms and twofold padding: another formula, another grid."""
    transform = make_transform_on(World.single(), n, precision=precision, kind=kind)
    flow = make_flow(transform)
    advection_hat = flow.advection(state_of(transform), transform.zeros_spectral())
    found = transform.to_host(advection_hat)
    expected = transform.to_host(transform.take(gradient_form(random_coefficients(n))))
    close(found[0, 0], expected.astype(found.dtype), precision)
    fastest = flow.max_velocity()
    assert fastest.shape == (1,) and fastest[0] > 0


def test_fused_advection_is_the_plain_one(n, precision, monkeypatch):
    """And the largest velocity with it; of several members and layers."""
    transform = make_transform_on(World.single(), n, members=2, precision=precision)
    flow, state = make_flow(transform), state_of(transform)
    assert transform.fused is not None
    fused, plain = transform.zeros_spectral(), transform.zeros_spectral()
    flow.advection(state, fused)
    fastest = flow.max_velocity()
    monkeypatch.setattr(type(transform), "fused", None)
    flow.advection(state, plain)
    assert not np.array_equal(fused, plain), "another order of the same sums"
    close(fused, plain, precision)
    close(fastest, flow.max_velocity(), precision)


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
