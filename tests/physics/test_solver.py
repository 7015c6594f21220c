"""What the equations conserve, how they decay, and how fast the schemes converge."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from eddyscope.flows.navier_stokes import NavierStokes
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schemes.registry import SCHEMES
from small_flows import (
    advance,
    alone,
    from_points,
    make_scheme,
    points,
    random_coefficients,
    relative,
    state_of,
    to_points,
)

ORDERS = {"ab2cn": 2, "ifrk3": 3}
"""Order of each scheme in dt, without drag."""

FORCED = {"kind": "deterministic", "wavenumber": 3}


@pytest.fixture(params=list(SCHEMES))
def scheme(request):
    return request.param


# --- Conservation --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [16, 22, 48])
@pytest.mark.parametrize("invariant", ["energy", "enstrophy"])
def test_advection_conserves(n, invariant):
    flow = alone(n)
    transform = flow.transform
    omega_hat = state_of(transform, peak=n / 4)
    advection = flow.advection(omega_hat, transform.zeros_spectral())
    by = omega_hat
    if invariant == "energy":
        by = flow.streamfunction(omega_hat, transform.zeros_spectral())
    rates = transform.weight * (np.conj(by) * advection).real
    assert abs(rates.sum()) < 1e-13 * np.abs(rates).sum()


def test_advection_moves_no_mean_vorticity():
    flow = alone(22)
    advection = flow.advection(state_of(flow.transform), flow.transform.zeros_spectral())
    assert advection[0, 0, 0, 0] == 0


def test_inviscid_flow_keeps_its_energy_and_enstrophy():
    """Only the scheme's own error is left: third order in dt, tiny here."""
    flow = alone(24, reynolds=1e300)
    before = state_of(flow.transform)
    diagnostics = Diagnostics(flow)
    after = advance(flow, "ifrk3", before, 2e-3, 50)
    sooner, later = diagnostics.means(before, 0.0, 0), diagnostics.means(after, 0.1, 50)
    assert relative(after, before) > 0.05, "the flow must move for this to mean anything"
    for invariant in ("energy", "enstrophy"):
        np.testing.assert_allclose(later[invariant], sooner[invariant], rtol=1e-8)


# --- Exact solutions -----------------------------------------------------------------------

LAMINAR = {
    "taylor-green": (lambda x, y: 2.0 * np.cos(x) * np.cos(y), 2.0),
    "kolmogorov": (lambda x, y: 4.0 * np.cos(4.0 * y), 16.0),
    "oblique": (lambda x, y: np.sin(3.0 * x + 4.0 * y) - np.cos(5.0 * x), 25.0),
}
"""Vorticity whose modes share one k², so that advection vanishes; and that k²."""


@pytest.fixture(params=list(LAMINAR))
def laminar(request):
    return LAMINAR[request.param]


def decayed(scheme, laminar, drag, steps, time=0.5):
    """(relative error of the decay after `time`, what it should be)."""
    formula, k2 = laminar
    flow = alone(16, reynolds=20.0, drag=drag)
    start = from_points(flow.transform, formula(*points(16)))
    end = to_points(flow.transform, advance(flow, scheme, start, time / steps, steps))
    return relative(end, np.exp(-(k2 / 20.0 + drag) * time) * formula(*points(16)))


@pytest.mark.parametrize("drag", [0.0, 0.3])
def test_laminar_decay_is_exact_with_an_integrating_factor(laminar, drag):
    assert decayed("ifrk3", laminar, drag, steps=10) < 1e-12


@pytest.mark.parametrize(("drag", "order"), [(0.0, 2), (0.3, 1)])
def test_laminar_decay_converges_at_the_order_of_ab2cn(drag, order):
    """Crank–Nicolson viscosity is second order; implicit Euler drag first."""
    errors = [decayed("ab2cn", LAMINAR["taylor-green"], drag, steps) for steps in (20, 40, 80)]
    assert all(abs(np.log2(coarse / fine) - order) < 0.1 for coarse, fine in pairwise(errors))


def test_steady_forcing_balances_viscosity_and_drag(scheme):
    """ω = −f/(ν k² + r) is steady, and unforced modes stay empty."""
    k, nu, drag = 3, 0.5, 0.25
    force = {**FORCED, "wavenumber": k, "components": ["y"], "amplitude": 2.0}
    flow = alone(16, reynolds=1.0 / nu, drag=drag, forcing=force)
    _, y = points(16)
    steady = -2.0 * np.cos(k * y) / (nu * k**2 + drag)
    start = from_points(flow.transform, steady)
    if scheme == "ifrk3":  # steady only to the scheme's order: forcing is not in the factor
        errors = [
            relative(
                to_points(flow.transform, advance(flow, scheme, start, 0.1 / s, 5 * s)), steady
            )
            for s in (1, 2)
        ]
        assert errors[0] < 1e-3 and errors[1] < errors[0] / 6
    else:
        end = to_points(flow.transform, advance(flow, scheme, start, 0.05, 40))
        assert relative(end, steady) < 1e-13


# --- Convergence ---------------------------------------------------------------------------


LINEAR = {
    "viscosity": {},
    "waves and hyperviscosity": {"beta": 5.0, "hyperviscosity": {"order": 2, "coefficient": 1e-4}},
    "drag and friction": {"drag": 0.5, "friction": {"order": 1, "coefficient": 0.5}},
}
"""Name -> linear terms."""

CONVERGING = [
    (scheme, terms)
    for scheme in SCHEMES
    for terms in LINEAR
    if (scheme, terms) != ("ab2cn", "drag and friction")  # implicit Euler: first order, see above
]


@pytest.mark.parametrize(("scheme", "terms"), CONVERGING)
def test_scheme_converges_at_its_order(scheme, terms):
    """A forced, turbulent start against a run of 16 times smaller steps."""
    flow = alone(24, reynolds=50.0, forcing=FORCED, **LINEAR[terms])
    start, time = state_of(flow.transform, energy=1.0), 0.4
    exact = advance(flow, "ifrk3", start, time / 1280, 1280)
    errors = [
        relative(advance(flow, scheme, start, time / steps, steps), exact) for steps in (20, 40, 80)
    ]
    orders = [np.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert min(orders) > ORDERS[scheme] - 0.25, f"errors {errors}"
    assert orders[-1] < ORDERS[scheme] + 0.5, f"errors {errors}"


def test_schemes_agree_with_drag_and_forcing():
    flow = alone(24, reynolds=50.0, drag=0.5, forcing=FORCED)
    start = state_of(flow.transform)
    ends = [advance(flow, name, start, 2e-4, 500) for name in SCHEMES]
    for end in ends[1:]:
        assert relative(end, ends[0]) < 1e-4


# --- Symmetries ----------------------------------------------------------------------------


def about_origin(omega):
    """The field at −x, −y."""
    return np.roll(omega[::-1, ::-1], (1, 1), (0, 1))


SYMMETRIES = {
    "translation": (lambda w: np.roll(w, (3, 5), (0, 1)), None),
    "quarter turn": (lambda w: np.roll(np.rot90(w), 1, axis=0), FORCED),
    "half turn": (about_origin, FORCED),
    "mirror": (lambda w: -np.roll(w[::-1], 1, axis=0), None),
}
"""Name -> (what it does to ω on the points, a forcing that it leaves as it is)."""


@pytest.mark.parametrize("name", list(SYMMETRIES))
def test_equations_are_symmetric(name, scheme):
    turn, forcing = SYMMETRIES[name]
    flow = alone(22, drag=0.1, forcing=forcing or {"kind": "none"})
    omega = np.fft.irfft2(random_coefficients(22), s=(22, 22), norm="forward")

    def evolved(field):
        state = from_points(flow.transform, field)
        return to_points(flow.transform, advance(flow, scheme, state, 0.01, 20))

    assert relative(evolved(omega), omega) > 0.01
    assert relative(evolved(turn(omega)), turn(evolved(omega))) < 1e-12


def test_one_force_alone_breaks_the_quarter_turn():
    """The test above can fail."""
    flow = alone(22, forcing={**FORCED, "components": ["x"]})
    omega = np.fft.irfft2(random_coefficients(22), s=(22, 22), norm="forward")
    turn = SYMMETRIES["quarter turn"][0]
    ends = [
        to_points(flow.transform, advance(flow, "ab2cn", from_points(flow.transform, w), 0.01, 20))
        for w in (omega, turn(omega))
    ]
    assert relative(ends[1], turn(ends[0])) > 1e-3


# --- Budgets -------------------------------------------------------------------------------


SYSTEMS = {
    "drag": {"drag": 0.2},
    "hyperviscosity": {"hyperviscosity": {"order": 3, "coefficient": 1e-6}},
    "friction": {"friction": {"order": 2, "coefficient": 0.5}},
    "waves": {"drag": 0.1, "beta": 4.0},
}
"""Name -> what there is beside viscosity and forcing."""


@pytest.mark.parametrize("system", list(SYSTEMS))
@pytest.mark.parametrize("quantity", ["energy", "enstrophy"])
def test_budget_closes(quantity, system):
    """d/dt by central differences is input − dissipation, to second order in the difference."""
    flow = alone(24, reynolds=50.0, forcing=FORCED, **SYSTEMS[system])
    diagnostics = Diagnostics(flow)
    start = state_of(flow.transform, energy=1.0)

    def residual(dt):
        states = [advance(flow, "ifrk3", start, dt, steps) for steps in (9, 10, 11)]
        before, now, after = (
            {name: value[0] for name, value in diagnostics.means(s, 0.0, 0).items()} for s in states
        )
        rate = (after[quantity] - before[quantity]) / (2 * dt)
        budget = now[f"{quantity}_input"] - now[f"{quantity}_dissipation"]
        assert abs(budget) > 0.01
        return abs(rate - budget) / abs(budget)

    # Ten steps each: the time differs, the closing of the budget must not.
    errors = [residual(dt) for dt in (8e-3, 4e-3, 2e-3)]
    assert errors[-1] < 1e-4
    assert errors[0] > 6 * errors[-1], errors


@pytest.mark.parametrize("system", list(SYSTEMS))
@pytest.mark.parametrize("quantity", ["energy", "enstrophy"])
def test_budget_closes_with_random_forcing(quantity, system, monkeypatch):
    """E(t) − E(0) is the work of the kicks less the integral of dissipation, which is smooth
    between kicks: the trapezoidal rule there, second order in dt."""
    ring = {"kind": "ring", "wavenumber": 4.0, "energy_input": 0.5}
    flow = alone(24, reynolds=50.0, forcing=ring, **SYSTEMS[system])
    diagnostics, state = Diagnostics(flow), state_of(flow.transform, energy=0.5)

    def means(elapsed=0.0):
        found = diagnostics.means(state, 0.0, 0, elapsed)
        return {name: float(value[0]) for name, value in found.items()}

    def residual(dt, steps):
        state[...] = state_of(flow.transform, energy=0.5)
        flow.kick_work[...] = 0.0
        rates = [means()[f"{quantity}_dissipation"]]

        def kick(omega_hat, step, length):
            rates.append(means()[f"{quantity}_dissipation"])
            NavierStokes.kick(flow, omega_hat, step, length)
            rates.append(means()[f"{quantity}_dissipation"])

        monkeypatch.setattr(flow, "kick", kick)
        start, stepper = means()[quantity], make_scheme("ifrk3", flow, dt)
        for step in range(steps):
            stepper.step(state, step * dt, step, lambda _: None)
        end = means(elapsed=steps * dt)
        lost = 0.5 * dt * sum(rates[:-1])  # at both ends of every step
        work = end[f"{quantity}_input"] * steps * dt
        assert work > 0.05
        return abs(end[quantity] - start - work + lost) / lost

    errors = [residual(0.2 / steps, steps) for steps in (10, 40)]
    assert errors[1] < 2e-5
    assert errors[0] > 6 * errors[1], errors


def test_diagnostics_of_a_known_flow():
    """ω = 3 cos(2x): E = 9/16, Z = 9/4, P = 9; f = 5 cos(2x) takes from it."""
    force = {"kind": "deterministic", "wavenumber": 2, "components": ["x"], "amplitude": 5.0}
    flow = alone(16, reynolds=10.0, drag=0.5, forcing=force)
    x, _ = points(16)
    state = from_points(flow.transform, 3.0 * np.cos(2.0 * x))
    loss = 2.0 * (4.0 / 10.0 + 0.5)
    expected = {
        "energy": 9 / 16,
        "enstrophy": 9 / 4,
        "palinstrophy": 9.0,
        "energy_input": -15 / 8,
        "enstrophy_input": -15 / 2,
        "energy_dissipation": loss * 9 / 16,
        "enstrophy_dissipation": loss * 9 / 4,
    }
    found = Diagnostics(flow).means(state, 0.0, 0)
    assert {name: pytest.approx(value[0], rel=1e-13) for name, value in found.items()} == expected


def test_fluxes_and_spectra_add_up():
    flow = alone(32)
    state = state_of(flow.transform, peak=3.0)
    advection = flow.advection(state, flow.transform.zeros_spectral())
    diagnostics = Diagnostics(flow)
    spectra, means = diagnostics.spectra(state, advection), diagnostics.means(state, 0.0, 0)
    for name in ("energy", "enstrophy"):
        # What the corners beyond the last shell hold is little here.
        np.testing.assert_allclose(spectra[name].sum(axis=1), means[name], rtol=1e-3)
        assert np.all(spectra[name] >= 0)
        largest = np.abs(spectra[f"{name}_flux"]).max()
        assert abs(spectra[f"{name}_flux"][0, -1]) < 1e-3 * largest
