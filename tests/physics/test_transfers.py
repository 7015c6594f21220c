"""Filters of every kind, the transfers that Π stands for, and drift without viscosity."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.filtering.kernels import FILTERS
from eddyscope.filtering.subgrid import Subgrid, unfiltered
from eddyscope.parallel.world import World
from eddyscope.solver.diagnostics import Diagnostics
from small_flows import (
    FFTW,
    advance,
    alone,
    from_points,
    make_flow,
    make_transform_on,
    relative,
    state_of,
)


def transfer(settings, n, kx, ky):
    return FILTERS.build(settings, n).response(kx, ky)


def wavenumbers(n):
    return np.arange(n // 2 + 1)[None, :], np.fft.fftfreq(n, 1.0 / n)[:, None]


def test_box_is_the_mean_over_a_square():
    n, width = 16, 2.0
    kx, ky = wavenumbers(n)
    settings = FILTERS.settings("box", n=[n], width=width)
    side = settings.delta(n)
    line = (np.arange(4000) + 0.5) / 4000 * side - side / 2  # midpoint rule over the side
    mean_x = np.cos(line[:, None, None] * kx).mean(axis=0)
    mean_y = np.cos(line[:, None, None] * ky).mean(axis=0)
    np.testing.assert_allclose(transfer(settings, n, kx, ky), mean_x * mean_y, atol=1e-6)


def test_sharp_keeps_what_the_width_resolves():
    kx, ky = wavenumbers(32)
    one = transfer(FILTERS.settings("sharp", n=[32], width=1.0), 32, kx, ky)
    two = transfer(FILTERS.settings("sharp", n=[32], width=2.0), 32, kx, ky)
    assert np.array_equal(one, (np.abs(kx) < 16) & (np.abs(ky) < 16))
    assert np.array_equal(two, (np.abs(kx) < 8) & (np.abs(ky) < 8))


@pytest.mark.parametrize("kind", list(FILTERS))
def test_every_filter_keeps_the_mean_and_damps_the_rest(kind):
    kx, ky = wavenumbers(32)
    factor = transfer(FILTERS.settings(kind, n=[32]), 32, kx, ky)
    assert factor[0, 0] == 1.0
    assert np.abs(factor).max() == 1.0
    gaussian = transfer(FILTERS.settings("gaussian", n=[32]), 32, kx, ky)
    low = (np.abs(kx) <= 2) & (np.abs(ky) <= 2)
    if kind != "sharp":  # the same second moment: alike at low wavenumbers
        np.testing.assert_allclose(factor[low], gaussian[low], rtol=2e-3)


@pytest.mark.parametrize("kind", list(FILTERS))
@pytest.mark.parametrize("weight", ["psi", "omega"])
def test_pi_carries_the_whole_transfer_to_the_subgrid(kind, weight):
    """⟨ψ̄ J(ω̄, ψ̄)⟩ = ⟨ω̄ J(ω̄, ψ̄)⟩ = 0, so ⟨ψ̄ Π⟩ = −⟨ψ̄ bar J⟩, and with ω̄ likewise."""
    n, coarse = 48, 16
    transform = make_transform_on(World.single(), n)
    flow = make_flow(transform)
    omega_hat = state_of(transform, peak=6.0)
    advection = flow.advection(omega_hat, transform.zeros_spectral())
    settings = FILTERS.settings(kind, n=[coarse])
    fields = Subgrid(flow, settings, FFTW).sample(omega_hat, advection)[coarse][0]
    kx, ky = wavenumbers(coarse)
    factor = transfer(settings, coarse, kx, ky)
    bar_j = np.fft.irfft2(
        transform.gather(advection, coarse)[0][0] * factor, s=(coarse, coarse), norm="forward"
    )
    size = np.abs(fields[weight] * bar_j).mean()
    found = (fields[weight] * fields["pi"]).mean()
    assert abs(found + (fields[weight] * bar_j).mean()) < 1e-12 * size


@pytest.mark.parametrize("beta", [0.0, 6.0])
@pytest.mark.parametrize("kind", list(FILTERS))
def test_pi_closes_the_budgets_of_the_filtered_flow(kind, beta):
    """dĒ/dt = ⟨ψ̄ Π⟩ − dissipation, and dZ̄/dt with ω̄, as the unfiltered flow goes on: by
    central differences, to second order."""
    n, coarse = 32, 12
    transform = make_transform_on(World.single(), n)
    flow = make_flow(transform, drag=0.1, beta=beta)
    start = state_of(transform, peak=4.0)
    subgrid = Subgrid(flow, FILTERS.settings(kind, n=[coarse]), FFTW)
    diagnostics = Diagnostics(subgrid.grids[coarse].flow)

    def at(omega_hat):
        """(ψ̄, ω̄ and Π, the means of the filtered flow) of a state of the unfiltered one."""
        advection = flow.advection(omega_hat, transform.zeros_spectral())
        fields = subgrid.sample(omega_hat, advection)[coarse][0]
        omega_bar = from_points(subgrid.grids[coarse].flow.transform, fields["omega"])
        return fields, diagnostics.means(omega_bar, 0.0, 0)

    def residuals(dt):
        middle = round(0.02 / dt)  # the same time, whatever the step
        steps = (middle - 1, middle, middle + 1)
        before, now, after = (at(advance(flow, "ifrk3", start, dt, s)) for s in steps)
        found = []
        for name, weight in (("energy", "psi"), ("enstrophy", "omega")):
            rate = (after[1][name] - before[1][name])[0] / (2 * dt)
            transfer = (now[0][weight] * now[0]["pi"]).mean()
            lost = now[1][f"{name}_dissipation"][0]
            assert abs(transfer) > 0.005 * lost, "Π must matter for this to mean anything"
            found.append(abs(rate - transfer + lost) / lost)
        return np.array(found)

    coarse_step, fine_step = residuals(2e-3), residuals(5e-4)
    assert np.all(fine_step < 1e-4), fine_step
    assert np.all(coarse_step > 8 * fine_step), (coarse_step, fine_step)


def test_full_fields_are_the_state_itself():
    transform = make_transform_on(World.single(), 24, members=2)
    flow = make_flow(transform)
    omega_hat = state_of(transform)
    fields = unfiltered(flow, omega_hat)
    assert list(fields) == [0, 1]
    whole = transform.gather(omega_hat, 24)[1]
    assert relative(np.fft.rfft2(fields[1], norm="forward"), whole) < 1e-14


@pytest.mark.parametrize(("scheme", "order"), [("ab2cn", 2), ("ifrk3", 3)])
def test_drift_without_viscosity_falls_at_the_schemes_order(scheme, order):
    """Energy after about a thousand steps, and with twice as many half as long."""
    flow = alone(16, reynolds=1e15)
    diagnostics = Diagnostics(flow)
    start = state_of(flow.transform, energy=0.5)
    before = diagnostics.means(start, 0.0, 0)
    drifts = []
    for steps in (1000, 2000):
        after = diagnostics.means(advance(flow, scheme, start, 4.0 / steps, steps), 4.0, steps)
        drifts.append({k: abs(after[k][0] / before[k][0] - 1.0) for k in ("energy", "enstrophy")})
    for name, drift in drifts[0].items():
        assert drift / drifts[1][name] > 0.8 * 2**order, (name, drifts)
