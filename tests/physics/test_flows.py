"""Waves, damping, random forcing and initial conditions against their closed forms."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import synthetic
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.flows.initial import INITIALS
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schemes.registry import SCHEMES
from small_flows import (
    advance,
    alone,
    from_points,
    make_flow,
    make_transform_on,
    points,
    relative,
    state_of,
)
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


def test_diagnostics_leave_what_they_look_at_as_it_is():
    flow = ring()
    diagnostics, state = Diagnostics(flow), state_of(flow.transform)
    flow.kick(state, 0, 0.02)
    kept = state.copy(), flow.kick_work.copy()
    first = diagnostics.means(state, 1.0, 1, elapsed=1.0)
    diagnostics.spectra(state, state)
    again = diagnostics.means(state, 1.0, 1, elapsed=1.0)
    assert first["energy_input"] == again["energy_input"] != 0.0
    for found, expected in zip((state, flow.kick_work), kept, strict=True):
        np.testing.assert_array_equal(found, expected)


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


# --- Forcing -------------------------------------------------------------------------------


@pytest.mark.parametrize("amplitude", [None, -2.5])
@pytest.mark.parametrize("components", [["x"], ["y"], ["x", "y"]])
def test_deterministic_force_is_its_formula(components, amplitude):
    k = 5
    forcing = {"kind": "deterministic", "wavenumber": k, "components": components}
    flow = alone(24, forcing={**forcing, "amplitude": amplitude})
    f_hat = flow.transform.zeros_spectral()
    flow.add_forcing(f_hat, 0.0, 0, 1.0)
    along = dict(zip("xy", points(24), strict=True))
    expected = sum(np.cos(k * along[axis]) for axis in components)
    expected = (k if amplitude is None else amplitude) * expected
    assert relative(field_of(flow.transform, f_hat), expected) < 1e-14


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_force_enters_with_a_minus(scheme):
    """From rest, ω = −f t for short times."""
    flow = alone(16, reynolds=1e9, forcing={"kind": "deterministic", "wavenumber": 3})
    after = advance(flow, scheme, flow.transform.zeros_spectral(), 1e-6, 1)
    x, y = points(16)
    force = 3.0 * (np.cos(3.0 * x) + np.cos(3.0 * y))
    assert relative(field_of(flow.transform, after), -1e-6 * force) < 1e-6


def test_ring_forcing_gives_its_energy_input_on_average():
    """Also where there is a flow, with which a kick is as often in phase as against it."""
    energy_input, dt, steps, members = 0.7, 0.01, 100, 16
    flow = ring(members=members, energy_input=energy_input)
    diagnostics, state = Diagnostics(flow), flow.transform.zeros_spectral()
    for step in range(steps):
        flow.kick(state, step, dt)
    assert diagnostics.means(state, 1.0, steps, elapsed=1.0)["energy"].mean() > 0.3
    flow.kick_work[...] = 0.0
    for step in range(steps, 2 * steps):
        flow.kick(state, step, dt)
    found = diagnostics.means(state, 2.0, 2 * steps, elapsed=1.0)["energy_input"]
    error = found.std(ddof=1) / np.sqrt(members)
    assert 0.0 < error < 0.1 * energy_input
    assert abs(found.mean() - energy_input) < 3.0 * error


# --- Initial conditions --------------------------------------------------------------------


def test_random_spectrum_is_the_papers():
    """|ω̂|² = k E(k)/π with E = A k⁴ exp(−(k/10)²), A = 4·10⁻⁵/(3π); its energy is 1/(2√π)."""
    n = 96
    omega_hat = INITIALS.build(INITIALS["random"].Settings(), 3).coefficients(n, 0)
    k = np.hypot(np.fft.fftfreq(n, 1.0 / n)[:, None], np.arange(n // 2 + 1)[None, :])
    spectrum = 4.0e-5 / (3.0 * np.pi) * k**4 * np.exp(-((k / 10.0) ** 2))
    kept = (np.arange(n) != n // 2)[:, None] & (np.arange(n // 2 + 1) != n // 2)[None, :]
    expected = np.where(kept, k * spectrum / np.pi, 0.0)
    np.testing.assert_allclose(np.abs(omega_hat) ** 2, expected, rtol=1e-12, atol=1e-30)
    transform = make_transform_on(World.single(), n)
    state = transform.take(omega_hat)[None, None]
    found = Diagnostics(make_flow(transform)).means(state, 0.0, 0)["energy"][0]
    assert found == pytest.approx(0.5 / np.sqrt(np.pi), rel=1e-3)


def test_random_phases_differ_between_modes_members_and_seeds():
    def phases(seed, member):
        omega_hat = INITIALS.build(INITIALS["random"].Settings(), seed).coefficients(32, member)
        return np.angle(omega_hat[1:16, 1:16])

    first = phases(3, 0)
    assert len(np.unique(first)) == first.size
    for other in (phases(4, 0), phases(3, 1)):
        assert not np.isclose(first, other).any()


def test_mcwilliams_has_its_spectrum():
    """|ψ̂|² ∝ 1/(k [1 + (k/6)⁴])."""
    n = 64
    omega_hat = INITIALS.build(INITIALS["mcwilliams"].Settings(), 3).coefficients(n, 0)
    k = np.hypot(np.fft.fftfreq(n, 1.0 / n)[:, None], np.arange(n // 2 + 1)[None, :])
    inside = (k > 0) & (k < n // 2)
    shape = np.abs(omega_hat[inside]) ** 2 / k[inside] ** 3 * (1.0 + (k[inside] / 6.0) ** 4)
    np.testing.assert_allclose(shape, shape[0], rtol=1e-12)


@pytest.mark.parametrize("n", [10, 16, 40])
def test_a_checkpoint_goes_on_on_any_grid(tmp_path, n):
    """Coarser, the same and finer: the modes that both grids have are the state's own bits."""
    transform = make_transform_on(World.single(), 16, members=2)
    state = state_of(transform)
    checkpoints = Checkpoints(tmp_path, CheckpointSettings(), "a run", transform)
    checkpoints.save({"step": 7}, {"omega_hat": state})
    settings = INITIALS["checkpoint"].Settings(path=str(tmp_path / "step-0000000007.h5"))
    finer = make_transform_on(World.single(), n, members=2)
    for member in (0, 1):
        found = finer.take(INITIALS.build(settings, 0).coefficients(n, member))
        half = min(n, 16) // 2
        ky = np.arange(1 - half, half)
        np.testing.assert_array_equal(found[:half, ky], state[member, 0][:half, ky])
        shared = np.zeros(found.shape, bool)
        shared[:half, ky] = True
        assert not found[~shared].any()


def test_a_dataset_goes_on_from_its_filtered_vorticity(tmp_path):
    """Member m from its member m, at the sample asked for; exact on a finer grid."""
    case = synthetic.make_case(tmp_path)
    path = tmp_path / "base" / "dataset.h5"
    synthetic.write_dataset(case, "base", path, World.single())
    dataset = Dataset(path)
    n = dataset.grids[0]
    for sample in (0, -1):
        settings = INITIALS["dataset"].Settings(path=str(path), n=n, sample=sample)
        for member in (0, 1):
            hats = INITIALS.build(settings, 0).coefficients(2 * n, member)
            fine = np.fft.irfft2(hats, s=(2 * n, 2 * n), norm="forward")
            stored = dataset.read(n, "omega")[member, sample, 0].astype(float)
            hat = np.fft.rfft2(stored, norm="forward")
            hat[n // 2], hat[:, n // 2], hat[0, 0] = 0.0, 0.0, 0.0  # never carried on
            kept = np.fft.irfft2(hat, s=(n, n), norm="forward")
            assert relative(fine[::2, ::2], kept) < 1e-13


@pytest.mark.parametrize("n", [8, 40])
def test_members_of_a_file_are_interpolated_to_any_grid(tmp_path, n):
    x, y = points(16)
    fields = np.stack([np.cos(3 * x - 2 * y), np.sin(x + 3 * y)])
    with h5py.File(tmp_path / "fields.h5", "w") as file:
        file["w"] = fields.astype("float32")
    settings = INITIALS["file"].Settings(path=str(tmp_path / "fields.h5"), dataset="w")
    x, y = points(n)
    expected = [np.cos(3 * x - 2 * y), np.sin(x + 3 * y)]
    for member in (0, 1):
        hat = INITIALS.build(settings, 0).coefficients(n, member)
        found = np.fft.irfft2(hat, s=(n, n), norm="forward")
        np.testing.assert_allclose(found, expected[member], atol=1e-6)
