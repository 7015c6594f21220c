"""Filters and the exact subgrid term, against dense transforms of the whole field."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.filtering.kernels import FILTERS
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.parallel.world import World
from eddyscope.spectral.registry import TRANSFORMS
from small_flows import FFTW, make_flow, make_transform_on, random_coefficients, relative, state_of

N = 32
GRIDS = [8, 14, 32]


SAMPLED = {
    "gaussian": ("float64", "gaussian", 0.0, "fftw"),
    "box": ("float64", "box", 0.0, "fftw"),
    "sharp": ("float64", "sharp", 0.0, "fftw"),
    "beta plane": ("float64", "gaussian", 8.0, "fftw"),
    "float32": ("float32", "gaussian", 0.0, "fftw"),
    "torch": ("float64", "gaussian", 8.0, "torch"),
    "torch, float32": ("float32", "box", 0.0, "torch"),
}
"""Name -> precision, filter, β, transform."""


@pytest.fixture(scope="module", params=list(SAMPLED))
def system(request):
    return SAMPLED[request.param]


@pytest.fixture(scope="module")
def precision(system):
    return system[0]


@pytest.fixture(scope="module")
def kind(system):
    return system[1]


@pytest.fixture(scope="module")
def sampled(system):
    """Fields of two members on every coarse grid, as the simulation filters them."""
    precision, kind, beta, backend = system
    transform = make_transform_on(World.single(), N, members=2, precision=precision, kind=backend)
    forcing = {"kind": "deterministic", "wavenumber": 4}
    flow = make_flow(transform, drag=0.1, beta=beta, forcing=forcing)
    omega_hat = state_of(transform, peak=5.0)
    advection = flow.advection(omega_hat, transform.zeros_spectral())
    settings = FILTERS.settings(kind, n=GRIDS)
    return Subgrid(flow, settings, TRANSFORMS.settings(backend)).sample(omega_hat, advection)


def jacobian(omega_hat):
    """Coefficients of J(ω, ψ) from the conservative form on a grid three times as fine."""
    n = len(omega_hat)
    fine = 3 * n
    k = np.fft.fftfreq(fine, 1.0 / fine)
    kx, ky = k[None, :], k[:, None]
    wide = np.zeros((fine, fine), complex)
    kept = np.r_[0 : n // 2, 1 - n // 2 : 0]
    wide[np.ix_(kept, kept)] = omega_hat[np.ix_(kept, kept)]
    k2 = kx**2 + ky**2
    psi = np.divide(wide, k2, out=np.zeros_like(wide), where=k2 > 0)
    omega, u, v = (
        np.fft.ifft2(f, norm="forward").real for f in (wide, 1j * ky * psi, -1j * kx * psi)
    )
    flux = 1j * kx * np.fft.fft2(u * omega, norm="forward")
    flux += 1j * ky * np.fft.fft2(v * omega, norm="forward")
    result = np.zeros((n, n), complex)
    result[np.ix_(kept, kept)] = flux[np.ix_(kept, kept)]
    return result


def gaussian(kx, ky, delta):
    return np.exp(-(kx**2 + ky**2) * delta**2 / 24.0)


def box(kx, ky, delta):
    """The mean of cos(k·x) over the square, by the two integrals."""
    along = [np.where(k == 0, 1.0, k) * delta / 2 for k in (kx, ky)]
    x, y = (np.where(k == 0, 1.0, np.sin(a) / a) for k, a in zip((kx, ky), along, strict=True))
    return x * y


def sharp(kx, ky, delta):
    """At a width of two spacings, half of the coarse modes of each direction."""
    return (np.maximum(np.abs(kx), np.abs(ky)) < np.round(np.pi / delta, 9)) * 1.0


def filtered(field_hat, n, width, kind):
    """A full plane filtered and truncated to n modes, Nyquist modes left out."""
    k = np.fft.fftfreq(n, 1.0 / n)
    kept = np.r_[0 : n // 2, 1 - n // 2 : 0]
    result = np.zeros((n, n), complex)
    result[np.ix_(kept, kept)] = field_hat[np.ix_(kept, kept)]
    delta = width * 2.0 * np.pi / n
    factor = {"gaussian": gaussian, "box": box, "sharp": sharp}[kind]
    return result * factor(k[None, :], k[:, None], delta)


def offline(member, n, kind, width=2.0):
    """psi, omega and pi from the whole field, by the definitions."""
    whole = np.fft.irfft2(random_coefficients(N, member, peak=5.0), s=(N, N), norm="forward")
    omega_hat = np.fft.fft2(whole, norm="forward")
    omega_bar = filtered(omega_hat, n, width, kind)
    k = np.fft.fftfreq(n, 1.0 / n)
    k2 = k[None, :] ** 2 + k[:, None] ** 2
    psi_bar = np.divide(omega_bar, k2, out=np.zeros_like(omega_bar), where=k2 > 0)
    pi = jacobian(omega_bar) - filtered(jacobian(omega_hat), n, width, kind)
    hats = {"psi": psi_bar, "omega": omega_bar, "pi": pi}
    return {name: np.fft.ifft2(hat, norm="forward").real for name, hat in hats.items()}


@pytest.mark.parametrize("n", GRIDS)
@pytest.mark.parametrize("member", [0, 1])
def test_in_situ_fields_are_those_of_an_offline_computation(sampled, precision, kind, n, member):
    """β has no part in Π: its term is linear, and the filter leaves it as it is."""
    limit = 1e-12 if precision == "float64" else 1e-4
    for name, expected in offline(member, n, kind).items():
        assert relative(sampled[n][member][name][0], expected) < limit, name


@pytest.mark.parametrize("n", GRIDS)
def test_subgrid_term_has_no_mean(sampled, precision, n):
    for fields in sampled[n].values():
        limit = 1e-15 if precision == "float64" else 1e-7
        assert abs(fields["pi"].mean()) < limit * np.abs(fields["pi"]).max()


def test_subgrid_term_is_unforced_and_has_the_right_sign(sampled, kind):
    """Adding Π to the coarse equation gives the filtered tendency: −J(ω̄) + Π = −bar J(ω)."""
    whole = np.fft.irfft2(random_coefficients(N, 0, peak=5.0), s=(N, N), norm="forward")
    exact = -filtered(jacobian(np.fft.fft2(whole, norm="forward")), 14, 2.0, kind)
    coarse = -jacobian(np.fft.fft2(sampled[14][0]["omega"][0], norm="forward"))
    total = coarse + np.fft.fft2(sampled[14][0]["pi"][0], norm="forward")
    assert relative(total, exact) < 1e-4
    assert relative(coarse, exact) > 1e-2, "Π must matter for this to mean anything"


def test_no_filter_on_the_whole_grid_leaves_no_subgrid_term():
    transform = make_transform_on(World.single(), N)
    flow = make_flow(transform)
    omega_hat = state_of(transform)
    advection = flow.advection(omega_hat, transform.zeros_spectral())
    settings = FILTERS.settings("gaussian", n=[N], width=1e-9)
    fields = Subgrid(flow, settings, FFTW).sample(omega_hat, advection)[N][0]
    whole = np.fft.irfft2(random_coefficients(N), s=(N, N), norm="forward")
    assert relative(fields["omega"], whole) < 1e-14
    assert np.abs(fields["pi"]).max() < 1e-12 * np.abs(fields["omega"]).max()


@pytest.mark.parametrize(("width", "n"), [(2.0, 8), (1.0, 14), (3.5, 16)])
def test_gaussian_transfer_function(width, n):
    settings = FILTERS.settings("gaussian", n=[n], width=width)
    delta = width * 2.0 * np.pi / n
    assert settings.delta(n) == pytest.approx(delta)
    k = np.arange(5.0)
    found = FILTERS.build(settings, n).response(k[None, :], k[:, None])
    for kx in range(5):
        for ky in range(5):
            expected = np.exp(-(kx**2 + ky**2) * delta**2 / 24.0)
            assert found[ky, kx] == pytest.approx(expected, rel=1e-14)


def test_the_gaussian_at_the_cutoff_of_the_paper():
    """Δ = 2 spacings: exp(−π²/6) at k = n/2."""
    found = FILTERS.build(FILTERS.settings("gaussian"), 64).response(np.array(32.0), np.array(0.0))
    assert found == pytest.approx(np.exp(-(np.pi**2) / 6.0))
