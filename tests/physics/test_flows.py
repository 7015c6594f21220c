"""Waves, damping, random forcing and initial conditions against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.flows.initial import INITIALS
from eddyscope.parallel.world import World
from eddyscope.solver.diagnostics import Diagnostics
from small_flows import advance, alone, from_points, make_flow, make_transform_on, points, relative
from small_flows import to_points as field_of


def one_wave(flow, kx, ky):
    x, y = points(flow.transform.grid.n)
    return from_points(flow.transform, np.cos(kx * x + ky * y))


@pytest.mark.parametrize("beta", [5.0, -5.0])
def test_rossby_wave_moves_west_where_beta_is_positive(beta):
    n, kx, ky, time = 16, 2, 1, 0.4
    flow = alone(n, reynolds=1e12, beta=beta)
    steps = 40
    state = advance(flow, "ifrk3", one_wave(flow, kx, ky), time / steps, steps)
    x, y = points(n)
    # ω ∝ cos(kx x + ky y + β kx t / k²): its crests go to smaller x for β > 0.
    expected = np.cos(kx * x + ky * y + beta * kx * time / (kx**2 + ky**2))
    assert relative(field_of(flow.transform, state), expected) < 1e-11


def test_rossby_wave_of_ab2cn_converges_at_second_order():
    n, kx, ky, time, beta = 16, 2, 1, 0.4, 5.0
    flow = alone(n, reynolds=1e12, beta=beta)
    x, y = points(n)
    expected = np.cos(kx * x + ky * y + beta * kx * time / (kx**2 + ky**2))
    errors = []
    for steps in (40, 80):
        state = advance(flow, "ab2cn", one_wave(flow, kx, ky), time / steps, steps)
        errors.append(relative(field_of(flow.transform, state), expected))
    assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"hyperviscosity": {"order": 2, "coefficient": 1e-3}}, 13 / 100 + 1e-3 * 13**2),
        ({"hyperviscosity": {"order": 8, "coefficient": 1e-9}}, 13 / 100 + 1e-9 * 13**8),
        ({"friction": {"order": 1, "coefficient": 2.0}}, 13 / 100 + 2.0 / 13),
        ({"friction": {"order": 2, "coefficient": 2.0}, "drag": 0.3}, 0.43 + 2.0 / 13**2),
    ],
)
def test_every_damping_is_exact_on_one_mode(settings, rate):
    flow = alone(16, **settings)
    state = one_wave(flow, 2, 3)
    after = advance(flow, "ifrk3", state, 0.05, 10)
    assert relative(after, state * np.exp(-rate * 0.5)) < 1e-12
    assert flow.decay_rate(np.sqrt(13.0)) == pytest.approx(rate)


def ring(n=32, members=1, energy_input=0.7, seed=3, world=None):
    transform = make_transform_on(world or World.single(), n, members)
    forcing = {"kind": "ring", "wavenumber": 5.0, "width": 2.0, "energy_input": energy_input}
    flow = make_flow(transform, reynolds=1e12)
    settings = type(flow.settings).model_validate(
        {"kind": "navier_stokes", "reynolds": 1e12, "forcing": forcing}
    )
    return type(flow)(settings, transform, seed=seed)


def test_a_ring_kick_carries_the_energy_asked_for_and_only_in_the_ring():
    flow = ring()
    state = flow.transform.zeros_spectral()
    flow.kick(state, step=4, dt=0.01)
    found = Diagnostics(flow).means(state, 0.0, 0)
    assert found["energy"][0] == pytest.approx(0.7 * 0.01, rel=1e-12)
    k = np.hypot(flow.transform.kx, flow.transform.ky)
    outside = (k < 4.0) | (k > 6.0)
    assert not np.any(state * outside)
    assert np.isrealobj(field_of(flow.transform, state))


def test_ring_kicks_differ_between_steps_members_and_seeds():
    def kicked(seed, step, member):
        flow = ring(members=2, seed=seed)
        state = flow.transform.zeros_spectral()
        flow.kick(state, step, 0.01)
        return state[member]

    first = kicked(3, 4, 0)
    assert np.array_equal(first, kicked(3, 4, 0))
    for other in (kicked(4, 4, 0), kicked(3, 5, 0), kicked(3, 4, 1)):
        assert not np.allclose(first, other)


def test_the_account_of_ring_kicks_closes_the_energy_budget():
    flow = ring(energy_input=2.0)
    diagnostics = Diagnostics(flow)
    state = flow.transform.zeros_spectral()
    before = diagnostics.means(state, 0.0, 0)["energy"][0]
    for step in range(50):
        flow.kick(state, step, 0.02)
    after = diagnostics.means(state, 1.0, 50, elapsed=1.0)
    assert after["energy"][0] - before == pytest.approx(after["energy_input"][0], rel=1e-12)
    assert not flow.kick_work.any()


@pytest.mark.parametrize("kind", ["random", "mcwilliams", "taylor_green", "vortex_pair"])
def test_an_initial_condition_is_the_same_field_on_a_finer_grid(kind):
    initial = INITIALS.build(INITIALS[kind].Settings(kind=kind), 7)
    coarse, fine = initial.coefficients(48, 1), initial.coefficients(64, 1)
    shared = np.arange(-15, 16)
    scale = np.abs(fine[shared, :16]).max()
    # The random spectra are scaled to an energy, to which the finer grid adds its own modes.
    factor = (
        np.vdot(fine[shared, :16], coarse[shared, :16]).real
        / np.vdot(fine[shared, :16], fine[shared, :16]).real
    )
    assert np.abs(coarse[shared, :16] - factor * fine[shared, :16]).max() < 1e-12 * scale
    assert factor == pytest.approx(1.0, rel=5e-2)


def test_mcwilliams_has_its_energy_and_taylor_green_its_velocity():
    transform = make_transform_on(World.single(), 32)
    flow = make_flow(transform)
    state = transform.zeros_spectral()
    state[0, 0] = transform.take(
        INITIALS.build(INITIALS["mcwilliams"].Settings(), 1).coefficients(32, 0)
    )
    assert Diagnostics(flow).means(state, 0.0, 0)["energy"][0] == pytest.approx(0.5, rel=1e-12)
    state[0, 0] = transform.take(
        INITIALS.build(
            INITIALS["taylor_green"].Settings(wavenumber=2, velocity=3.0), 1
        ).coefficients(32, 0)
    )
    flow.advection(state, transform.zeros_spectral())
    x, y = points(32)
    assert np.allclose(field_of(transform, state), 2 * 2 * 3.0 * np.cos(2 * x) * np.cos(2 * y))
    assert flow.max_velocity()[0] == pytest.approx(3.0, rel=1e-2)


def test_taylor_green_decays_exactly():
    flow = alone(16)
    state = flow.transform.zeros_spectral()
    initial = INITIALS.build(INITIALS["taylor_green"].Settings(wavenumber=2), 0)
    state[0, 0] = flow.transform.take(initial.coefficients(16, 0))
    after = advance(flow, "ifrk3", state, 0.05, 20)
    assert relative(after, state * np.exp(-2 * 4 / 100)) < 1e-12


def test_a_vortex_pair_has_its_circulations():
    settings = INITIALS["vortex_pair"].Settings(
        separation=2.0, radius=0.3, circulation=3.0, opposite=True
    )
    omega = np.fft.irfft2(INITIALS.build(settings, 0).coefficients(128, 0), norm="forward")
    half = omega[:, :64].sum() * (2 * np.pi / 128) ** 2
    assert half == pytest.approx(3.0, rel=1e-3)
    assert omega.max() == pytest.approx(3.0 / (2 * np.pi * 0.3**2), rel=1e-2)


def test_a_file_on_another_grid_is_interpolated_exactly(tmp_path):
    x, y = points(16)
    np.save(tmp_path / "omega.npy", np.cos(3 * x - 2 * y))
    settings = INITIALS["file"].Settings(path=str(tmp_path / "omega.npy"))
    found = np.fft.irfft2(INITIALS.build(settings, 0).coefficients(40, 0), norm="forward")
    x, y = points(40)
    assert np.allclose(found, np.cos(3 * x - 2 * y), atol=1e-13)
