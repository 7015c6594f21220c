"""What every forcing, initial condition, flow, scheme and filter must do.

New registry lines are picked up by themselves; settings without a default need an example
in `EXAMPLES`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import synthetic
from eddyscope.config.case import Section
from eddyscope.config.registry import Registry
from eddyscope.filtering.kernels import FILTERS
from eddyscope.flows.forcing import FORCINGS
from eddyscope.flows.initial import INITIALS
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.spectral.registry import TRANSFORMS
from small_flows import make_flow, make_scheme, make_transform_on, state_of

N = 16
MEMBERS = 3

EXAMPLES: dict[str, dict[str, Any]] = {
    "deterministic": {"wavenumber": 3},
    "ring": {"wavenumber": 4.0, "energy_input": 0.1},
    "navier_stokes": {
        "reynolds": 100.0,
        "drag": 0.1,
        "beta": 2.0,
        "forcing": {"kind": "ring", "wavenumber": 4.0, "energy_input": 0.1},
    },
    "file": {"path": "{folder}/omega.npy"},
    "dataset": {"path": "{folder}/base/dataset.h5", "n": 16},
    "checkpoint": {"path": "{folder}/step-0000000001.h5"},
}
"""Settings that have no default, and those that are worth turning on."""

REGISTRIES: dict[str, Registry[Any]] = {
    "forcing": FORCINGS,
    "initial": INITIALS,
    "flow": FLOWS,
    "filter": FILTERS,
    "transform": TRANSFORMS,
}
ENTRIES = [(noun, name) for noun, registry in REGISTRIES.items() for name in registry]

PRECISIONS = ["float64", "float32"]


def settings_of(registry: Any, name: str, folder: Path | None = None) -> Any:
    example = {
        key: value.format(folder=folder) if isinstance(value, str) else value
        for key, value in EXAMPLES.get(name, {}).items()
    }
    return registry[name].Settings.model_validate({"kind": name, **example})


@pytest.mark.parametrize(("noun", "name"), ENTRIES)
def test_settings_carry_the_entrys_name_and_are_closed(noun, name):
    settings = settings_of(REGISTRIES[noun], name)
    assert isinstance(settings, Section)
    assert type(settings).model_fields["kind"].default == name
    with pytest.raises(ValidationError, match="kind"):
        type(settings).model_validate({**settings.model_dump(), "kind": "another"})
    with pytest.raises(ValidationError, match="nonsense"):
        type(settings).model_validate({**settings.model_dump(), "nonsense": 1})


@pytest.mark.parametrize(("noun", "name"), ENTRIES)
def test_every_setting_is_described(noun, name):
    fields = type(settings_of(REGISTRIES[noun], name)).model_fields
    bare = {key for key, field in fields.items() if not field.description}
    assert bare <= {"kind", "forcing", "initial"}


# --- Initial conditions --------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A folder with what initial conditions may be read from."""
    folder: Path = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(1)
    np.save(folder / "omega.npy", rng.standard_normal((MEMBERS, N, N)))
    case = synthetic.make_case(folder)
    synthetic.write_dataset(case, "base", folder / "base" / "dataset.h5", World.single())
    transform = make_transform_on(World.single(), N, MEMBERS, layers=2)
    checkpoints = Checkpoints(folder, CheckpointSettings(), "a run", transform)
    checkpoints.save({"step": 1}, {"omega_hat": state_of(transform)})
    return folder


@pytest.fixture(params=list(INITIALS))
def initial(request, sources):
    def build(seed: int = 3) -> Any:
        return INITIALS.build(settings_of(INITIALS, request.param, sources), seed)

    return build


@pytest.mark.parametrize("n", [N, 22])
@pytest.mark.parametrize("member", [0, MEMBERS - 1])
def test_initial_vorticity_is_a_real_field_without_mean_or_nyquist_modes(initial, n, member):
    found = initial().coefficients(n, member)
    half = n // 2
    assert (found.shape, found.dtype) == ((n, half + 1), np.complex128)
    assert np.isfinite(found).all()
    assert np.any(found)
    assert not found[half].any() and not found[:, half].any()
    assert found[0, 0] == 0
    mirrored = np.conj(found[-np.arange(n) % n, 0])
    np.testing.assert_allclose(found[:, 0], mirrored, atol=1e-13 * np.abs(found).max())


def test_initial_vorticity_has_as_many_layers_as_are_asked_for(initial):
    """Layer 0 is what there is without layers; files without layers say the same of all."""
    one = initial()
    first, second = one.coefficients(N, 1, 0), one.coefficients(N, 1, 1)
    np.testing.assert_array_equal(first, one.coefficients(N, 1))
    assert second.shape == first.shape and np.any(second)


def test_initial_vorticity_is_the_same_whenever_it_is_asked_for(initial):
    first, second = initial(), initial()
    second.coefficients(N, 0)
    np.testing.assert_array_equal(first.coefficients(N, 1), second.coefficients(N, 1))


# --- Forcings ------------------------------------------------------------------------------


def forced(name: str, world: World, mesh: Any, precision: str) -> tuple[Any, Any]:
    """(transform, what two steps of the forcing add to a state)."""
    transform = make_transform_on(world, N, MEMBERS, mesh, precision)
    forcing = FORCINGS.build(settings_of(FORCINGS, name), transform, seed=7)
    state = transform.zeros_spectral()
    factor = np.full((1, 1, *state.shape[2:]), -0.01, dtype=precision)
    for step in (0, 1):
        forcing.add(state, 0.01 * step, step, factor)
        forcing.kick(state, step, 0.01)
    return transform, state


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", list(FORCINGS))
def test_forcing_adds_a_real_field_without_mean_or_nyquist_modes(name, precision):
    transform, added = forced(name, World.single(), None, precision)
    assert added.dtype == transform.grid.complex
    assert added.any() == (name != "none")
    assert not added[..., N // 2].any()
    assert not added[:, :, 0, 0].any()
    mirrored = np.conj(added[:, :, 0, -np.arange(N) % N])
    np.testing.assert_allclose(added[:, :, 0], mirrored, atol=1e-7)


# --- Flows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", list(FLOWS))
def test_flow_meets_its_protocol(name, precision):
    transform = make_transform_on(World.single(), N, MEMBERS, precision=precision)
    flow = FLOWS.build(settings_of(FLOWS, name), transform)
    state = state_of(transform)
    kept = state.copy()
    advection = flow.advection(state, transform.zeros_spectral())
    psi = flow.streamfunction(state, transform.zeros_spectral())
    np.testing.assert_array_equal(state, kept)
    for found in (advection, psi):
        assert (found.shape, found.dtype) == (state.shape, state.dtype)
        assert not found[..., N // 2].any()
    for rate in (flow.damping, flow.drag):
        assert np.broadcast_shapes(rate.shape, state.shape) == state.shape
        assert rate.dtype == transform.grid.real
        assert np.all(rate >= 0)
    assert flow.max_velocity().shape == (MEMBERS,)
    assert np.all(flow.max_velocity() > 0)
    fastest = float((flow.damping + flow.drag)[0, 0, 0, 5])
    assert flow.decay_rate(5) == pytest.approx(fastest, rel=1e-6)


@pytest.mark.parametrize("name", list(FLOWS))
def test_unforced_flow_is_the_same_equation_without_its_forcing(name):
    transform = make_transform_on(World.single(), N, MEMBERS)
    flow = FLOWS.build(settings_of(FLOWS, name), transform)
    other = flow.unforced(transform)
    nothing = transform.zeros_spectral()
    other.add_forcing(nothing, 0.0, 0, 1.0)
    other.kick(nothing, 0, 0.1)
    assert not nothing.any()
    state = state_of(transform)
    np.testing.assert_array_equal(
        flow.advection(state, transform.zeros_spectral()),
        other.advection(state, transform.zeros_spectral()),
    )
    np.testing.assert_array_equal(flow.damping, other.damping)


@pytest.mark.parametrize("name", list(FLOWS))
def test_flow_on_another_grid_is_the_same_equation_with_its_forcing(name):
    """On one as fine, to the bit; the kicks of a random forcing included."""
    transform = make_transform_on(World.single(), N, MEMBERS)
    flow = FLOWS.build(settings_of(FLOWS, name), transform, seed=7)
    other = flow.on(make_transform_on(World.single(), N, MEMBERS))
    states = []
    for each in (flow, other):
        state = state_of(transform)
        stepper = make_scheme("ifrk3", each, 0.01)
        for step in (0, 1):
            stepper.step(state, 0.01 * step, step, NoClosure().pi_hat)
        states.append(state)
    np.testing.assert_array_equal(*states)
    finer = flow.on(make_transform_on(World.single(), 2 * N))
    assert finer.transform.grid.n == 2 * N
    assert finer.decay_rate(5.0) == flow.decay_rate(5.0)


@pytest.mark.parametrize("forcing", [name for name in FORCINGS if name != "none"])
@pytest.mark.parametrize("name", list(FLOWS))
def test_flow_on_another_grid_keeps_the_response_of_its_forcing(name, forcing):
    """A filtered forcing stays filtered, on a grid as fine and on a finer one."""
    settings = settings_of(FLOWS, name).model_copy(
        update={"forcing": settings_of(FORCINGS, forcing)}
    )
    response = FILTERS.build(settings_of(FILTERS, "gaussian"), 16).response

    def acts(flow: Any) -> Any:
        """What the forcing does to the modes that both grids have."""
        state = flow.transform.zeros_spectral()
        flow.add_forcing(state, 0.0, 0, 1.0)
        flow.kick(state, 0, 0.01)
        return flow.transform.gather(state, N)[0]

    coarse, fine = (make_transform_on(World.single(), n) for n in (N, 2 * N))
    filtered = FLOWS.build(settings, coarse, response, 7)
    plain = FLOWS.build(settings, coarse, seed=7)
    expected = acts(filtered)
    assert np.any(expected) and not np.array_equal(expected, acts(plain))
    for transform in (make_transform_on(World.single(), N), fine):
        np.testing.assert_array_equal(acts(filtered.on(transform)), expected)


# --- Schemes -------------------------------------------------------------------------------


def stepped(world: World, mesh: Any, scheme: str, flow_name: str, precision: str) -> Any:
    """(transform, stepper, state after four steps, the last of another length)."""
    transform = make_transform_on(world, N, MEMBERS, mesh, precision)
    example = {key: value for key, value in EXAMPLES[flow_name].items() if key != "kind"}
    flow = make_flow(transform, flow_name, **example)
    stepper = make_scheme(scheme, flow, 0.01)
    state = state_of(transform)
    for step in range(4):
        stepper.set_dt(0.01 if step < 3 else 0.005)
        stepper.step(state, 0.01 * step, step, NoClosure().pi_hat)
    return transform, stepper, state


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_scheme_keeps_precision_and_leaves_no_nyquist_modes(scheme, precision):
    transform, stepper, state = stepped(World.single(), None, scheme, "navier_stokes", precision)
    assert state.dtype == transform.grid.complex
    for array in (stepper.advection.values, *stepper.history.values()):
        assert (array.shape, array.dtype) == (state.shape, state.dtype)
    assert np.isfinite(state).all()
    assert not state[..., N // 2].any()
    assert not np.array_equal(state, state_of(transform))
    assert stepper.fastest > 0


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_advection_that_was_asked_for_is_used_by_the_step_after_it(scheme, monkeypatch):
    def run(asks: bool) -> tuple[Any, int, float]:
        transform = make_transform_on(World.single(), N, MEMBERS)
        flow = make_flow(transform, "navier_stokes", beta=1.0)
        stepper, state = make_scheme(scheme, flow, 0.01), state_of(transform)
        worked_out, advection = [], flow.advection

        def counted(omega_hat: Any, out: Any) -> Any:
            worked_out.append(1)
            return advection(omega_hat, out)

        monkeypatch.setattr(flow, "advection", counted)
        for step in range(4):
            if asks and step > 0:
                found = stepper.advection.of(state).copy()
                expected = advection(state, transform.zeros_spectral())
                np.testing.assert_array_equal(found, expected)
            stepper.step(state, 0.01 * step, step, NoClosure().pi_hat)
        return state, len(worked_out), stepper.fastest

    (state, worked_out, fastest), (asked, as_often, same) = run(False), run(True)
    assert asked.tobytes() == state.tobytes()
    assert (as_often, same) == (worked_out, fastest)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_closure_enters_as_a_tendency(scheme):
    """ω changes by Δt Π, to first order, and Π itself is left alone."""
    transform = make_transform_on(World.single(), N)
    flow = make_flow(transform, reynolds=1e9)
    pi_hat = 1e-3 * state_of(transform)
    kept = pi_hat.copy()
    ends = []
    for closure in (lambda _: None, lambda _: pi_hat):
        state = state_of(transform)
        make_scheme(scheme, flow, 1e-4).step(state, 0.0, 0, closure)
        ends.append(state)
    np.testing.assert_array_equal(pi_hat, kept)
    np.testing.assert_allclose(ends[1] - ends[0], 1e-4 * pi_hat, atol=1e-10)


# --- On ranks ------------------------------------------------------------------------------


def meshes(size: int) -> list[tuple[int, int]]:
    return [(m, size // m) for m in range(1, MEMBERS + 1) if size % m == 0 and size // m <= N // 2]


@pytest.mark.mpi
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", list(FORCINGS))
def test_forcing_has_the_same_bits_on_every_mesh(world, name, precision):
    _, expected = forced(name, World.single(), None, precision)
    for mesh in meshes(world.size):
        transform, found = forced(name, world, mesh, precision)
        assert found.tobytes() == expected[transform.spectral_block].tobytes(), mesh


@pytest.mark.mpi
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("flow", list(FLOWS))
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_steps_have_the_same_bits_on_every_mesh(world, scheme, flow, precision):
    _, _, expected = stepped(World.single(), None, scheme, flow, precision)
    for mesh in meshes(world.size):
        transform, _, found = stepped(world, mesh, scheme, flow, precision)
        assert found.tobytes() == expected[transform.spectral_block].tobytes(), mesh


# --- Filters -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FILTERS))
def test_filter_keeps_the_mean_and_is_even(name):
    k = np.arange(-8.0, 9.0)
    settings = settings_of(FILTERS, name)
    factor = FILTERS.build(settings, 16).response(k[None, :], k[:, None])
    assert factor.dtype == np.float64
    assert factor[8, 8] == 1.0
    assert np.all(np.abs(factor) <= 1.0)
    for same in (factor[::-1], factor[:, ::-1], factor.T):
        np.testing.assert_array_equal(factor, same)
