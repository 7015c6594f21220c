"""A simulation has the same bits however it is laid out on ranks.

Rank 0 alone makes the reference, so agreement with it at every rank count is agreement
of all rank counts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.errors import CaseError
from eddyscope.flows.initial import RandomSpectrum
from eddyscope.parallel.world import World, block
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.pace import FixedPace
from eddyscope.solver.schedule import FixedSteps
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.simulation import Clock, Simulation
from eddyscope.spectral.reductions import exact_sums
from small_flows import (
    assert_same_arrays,
    make_flow,
    make_scheme,
    make_transform_on,
    random_coefficients,
    state_of,
)
from small_runs import simulated

pytestmark = pytest.mark.mpi

CASES = {
    "uneven": ["grid.n=22", "base.ensemble.members=3", "filter.n=[8, 14, 22]"],
    "one member": ["base.ensemble.members=1", "time.scheme='ifrk3'", "filter.n=[8, 10]"],
    "five members": ["base.ensemble.members=5", "grid.precision='float32'"],
    "few rows": ["grid.n=8", "base.ensemble.members=2", "filter.n=[4]", "network.kernel_size=3"],
    "all terms": [
        "grid.n=18",
        "time={cfl=0.2}",
        "base.flow.beta=3.0",
        "base.flow.hyperviscosity={order=3, coefficient=1e-7}",
        "base.flow.friction={coefficient=0.2}",
        "base.flow.forcing={kind='ring', wavenumber=3.0, energy_input=0.5}",
        "filter={kind='box', n=[6, 10], full_fields=true}",
    ],
}
"""What is laid out: fields that no rank count divides, more ranks than members or coarse rows;
and every term of the equation, with steps that adapt."""

MEMBERS = {"uneven": 3, "one member": 1, "five members": 5, "few rows": 2, "all terms": 2}


def meshes(size: int, members: int, rows: int) -> list[tuple[int, int]]:
    """Every mesh members × pencils of `size` ranks."""
    return [
        (m, size // m)
        for m in range(1, size + 1)
        if size % m == 0 and m <= members and size // m <= rows
    ]


@pytest.mark.parametrize("name", list(CASES))
def test_dataset_has_the_same_bits_on_every_mesh(world, shared_tmp_path, everywhere, name):
    quiet = [*CASES[name], "checkpoint.seconds=1e6"]
    expected = shared_tmp_path / "alone" / "base" / "dataset.h5"
    if world.is_root:
        simulated(World.single(), shared_tmp_path, shared_tmp_path / "alone", quiet)
    rows = 4 if name == "few rows" else 8
    for mesh in meshes(world.size, MEMBERS[name], rows):
        out = shared_tmp_path / f"{mesh[0]}x{mesh[1]}"
        found = simulated(world, shared_tmp_path, out, [*quiet, f"transform.mesh={list(mesh)}"])
        everywhere(Dataset(found).complete, "not complete")
        everywhere(Dataset(found).verify() == [], "checksums do not match")
        assert_same_arrays(found, expected)
        world.comm.Barrier()


def test_nothing_is_left_unwritten(world, shared_tmp_path):
    """Every record of the diagnostics and every shell of the spectra has a number."""
    dataset = Dataset(simulated(world, shared_tmp_path, shared_tmp_path / "out", CASES["uneven"]))
    diagnostics, spectra = dataset.diagnostics(), dataset.spectra()
    for values in (*diagnostics.values(), *spectra.values()):
        assert np.isfinite(values).all()
    for name in ("energy", "enstrophy", "palinstrophy", "cfl"):
        assert np.all(diagnostics[name] > 0)
    members = diagnostics["energy"]
    assert np.all(np.abs(np.diff(members, axis=0)[:, -1]) > 0), "members must differ"


def test_the_recorded_budgets_close(world, shared_tmp_path):
    """Of all terms: what was put in since the record before, less what was lost, is the change."""
    finer = ["time={cfl=0.05}", "base.ensemble.interval=0.1", "base.ensemble.diagnostics=40"]
    out = shared_tmp_path / "out"
    found = Dataset(
        simulated(world, shared_tmp_path, out, [*CASES["all terms"], *finer])
    ).diagnostics()
    for name in ("energy", "enstrophy"):
        value, lost = found[name], found[f"{name}_dissipation"]
        spans = np.diff(found["time"])
        work = (found[f"{name}_input"][:, 1:] * spans).sum(axis=1)
        loss = (0.5 * (lost[:, 1:] + lost[:, :-1]) * spans).sum(axis=1)
        assert np.all(work > 0.02 * value[:, 0]), "the forcing must matter"
        change = value[:, -1] - value[:, 0]
        np.testing.assert_allclose((change - work) / -loss, 1.0, rtol=2e-3)


# --- Pieces --------------------------------------------------------------------------------


@pytest.fixture(params=[1, 2, 3])
def members(request):
    return request.param


def simulation_on(world: World, mesh: tuple[int, int] | None, members: int, scheme: str):
    """22 modes, forced, with drag; at its start. Collective."""
    transform = make_transform_on(world, 22, members, mesh)
    forcing = {"kind": "deterministic", "wavenumber": 3}
    flow = make_flow(transform, drag=0.1, forcing=forcing)
    stepper = make_scheme(scheme, flow, 0.01)
    schedule = FixedSteps.of(0, 1, 20, 1, 0.01)  # a mark at every step
    pace = FixedPace(schedule)
    return Simulation(flow, stepper, NoClosure(), state_of(transform), schedule, pace)


def whole_fields(simulation: Simulation) -> dict[int, np.ndarray]:
    return simulation.flow.transform.gather(simulation.omega_hat, 22)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_states_and_diagnostics_do_not_depend_on_the_mesh(world, members, scheme):
    reference = simulation_on(World.single(), None, members, scheme)
    reference.run(5, [])
    expected, means = whole_fields(reference), describe(reference)
    for mesh in meshes(world.size, members, 11):
        found = simulation_on(world, mesh, members, scheme)
        found.run(5, [])
        for member, field in whole_fields(found).items():
            assert field.tobytes() == expected[member].tobytes()
        mine = found.flow.transform.mesh.members
        for name, values in describe(found).items():
            assert values.tobytes() == np.ascontiguousarray(means[name][mine]).tobytes(), name


def describe(simulation: Simulation) -> dict[str, np.ndarray]:
    diagnostics, state = Diagnostics(simulation.flow), simulation.omega_hat
    advection = simulation.scheme.advection.of(state)
    spectra = diagnostics.spectra(state, advection)
    return {
        **diagnostics.means(state, simulation.time, simulation.clock.step),
        **{f"{name} spectrum": values for name, values in spectra.items()},
        "max_velocity": diagnostics.max_velocity(),
    }


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_restart_on_another_mesh_continues_the_same_bits(world, shared_tmp_path, members, scheme):
    uninterrupted = simulation_on(World.single(), None, members, scheme)
    uninterrupted.run(8, [])
    expected = whole_fields(uninterrupted)
    for number, mesh in enumerate(meshes(world.size, members, 11)):
        folder = shared_tmp_path / str(number)
        first = simulation_on(world, mesh, members, scheme)
        first.run(5, [])
        checkpoints(folder, first).save(first.clock.as_dict(), first.state)
        for other in meshes(world.size, members, 11):
            second = simulation_on(world, other, members, scheme)
            clock = second.clock
            clock.restore(checkpoints(folder, second).load(clock.as_dict(), second.state))
            assert clock.step == 5
            second.run(8, [])
            for member, field in whole_fields(second).items():
                assert field.tobytes() == expected[member].tobytes()


def checkpoints(folder: Path, simulation: Simulation) -> Checkpoints:
    return Checkpoints(folder, CheckpointSettings(), "this run", simulation.flow.transform)


def test_a_checkpoint_damaged_in_one_ranks_part_is_left_by_all(world, shared_tmp_path):
    simulation = simulation_on(world, None, 1, "ab2cn")
    kept = checkpoints(shared_tmp_path, simulation)
    for step in (1, 2):
        simulation.run(step, [])
        kept.save(simulation.clock.as_dict(), simulation.state)
    newest = shared_tmp_path / "step-0000000002.h5"
    if world.is_root:
        content = bytearray(newest.read_bytes())
        last_column = random_row(content, simulation)
        content[last_column] ^= 0x10
        newest.write_bytes(content)
    world.comm.Barrier()
    assert kept.load(Clock().as_dict(), simulation.state)["step"] == 1


def random_row(content: bytearray, simulation: Simulation) -> int:
    """Where the file holds the first number of the first column (rank 0's) of the vorticity."""
    return content.find(simulation.omega_hat[0, 0, 0, 1].tobytes())


def test_another_runs_checkpoint_is_not_used(world, shared_tmp_path):
    simulation = simulation_on(world, None, 2, "ab2cn")
    checkpoints(shared_tmp_path, simulation).save(Clock().as_dict(), simulation.state)
    transform = simulation.flow.transform
    other = Checkpoints(shared_tmp_path, CheckpointSettings(), "another run", transform)
    assert other.load(Clock().as_dict(), simulation.state) is None


def test_only_the_newest_checkpoints_stay(world, shared_tmp_path, everywhere):
    simulation = simulation_on(world, None, 2, "ab2cn")
    kept = checkpoints(shared_tmp_path, simulation)
    for step in (1, 2, 3, 4):
        kept.save({**Clock().as_dict(), "step": step}, simulation.state)
        world.comm.Barrier()
    names = sorted(path.name for path in shared_tmp_path.iterdir())
    everywhere(names == ["step-0000000003.h5", "step-0000000004.h5"], str(names))


@pytest.mark.parametrize("n", [4, 8, 22])
def test_gather_gives_back_what_take_took(world, members, n):
    for mesh in meshes(world.size, members, 11):
        transform = make_transform_on(world, 22, members, mesh)
        gathered = transform.gather(state_of(transform), n)
        assert list(gathered) == transform.owned
        everyones = [m for part in world.comm.allgather(transform.owned) for m in part]
        assert sorted(everyones) == list(range(members))
        for member, plane in gathered.items():
            expected = make_transform_on(World.single(), 22).gather(state_alone(member), n)[0]
            np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize("turn", [0, 1, 5])
def test_ranks_take_turns_to_get_several_fields_by_columns(world, members, turn):
    for mesh in meshes(world.size, members, 11):
        transform = make_transform_on(world, 22, members, mesh)
        state = state_of(transform)
        gathered = transform.gather_columns([state, -2.0 * state], 14, turn)
        ranks = transform.mesh.pencil_comm
        everyones = world.comm.allgather((ranks.rank, transform.mesh.members.start, [*gathered]))
        for rank, first, mine in everyones:
            assert all((member - first + turn) % ranks.size == rank for member in mine)
        assert sorted(m for *_, mine in everyones for m in mine) == list(range(members))
        for member, (one, other) in gathered.items():
            plane = make_transform_on(World.single(), 22).gather(state_alone(member), 14)[0]
            np.testing.assert_array_equal(one, np.swapaxes(plane, 1, 2)[:, :7])
            np.testing.assert_array_equal(other, -2.0 * one)


def state_alone(member: int) -> np.ndarray:
    transform = make_transform_on(World.single(), 22)
    return transform.take(random_coefficients(22, member))[None, None]


def test_round_trip_on_every_mesh(world, members):
    for mesh in meshes(world.size, members, 11):
        transform = make_transform_on(world, 22, members, mesh)
        before = state_of(transform)
        after = transform.to_modes(transform.to_points(before))
        np.testing.assert_allclose(after, before, atol=1e-14)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("n", [98, 196])
def test_advection_has_the_same_bits_where_rows_fill_several_blocks(world, n, precision):
    """98: a rank's columns of one field end between two vectors of the processor."""
    alone = make_transform_on(World.single(), n, precision=precision)
    spread = make_transform_on(world, n, precision=precision)
    expected, found = (
        make_flow(t).advection(state_of(t, peak=n / 6), t.zeros_spectral()) for t in (alone, spread)
    )
    assert found.tobytes() == expected[:, :, spread.spectral_block[2]].tobytes()


# --- Sums and random numbers ---------------------------------------------------------------


@pytest.mark.parametrize("decades", [0, 30])
def test_sums_do_not_depend_on_who_holds_the_terms(world, rng, decades):
    terms = rng.standard_normal((2, 501)) * 10.0 ** (rng.uniform(-0.5, 0.5, (2, 501)) * decades)
    expected = exact_sums(terms, 501, World.single().comm)
    mine = block(501, world.size, world.rank)
    np.testing.assert_array_equal(exact_sums(terms[:, mine], 501, world.comm), expected)
    scattered = terms[:, world.rank :: world.size]
    np.testing.assert_array_equal(exact_sums(scattered, 501, world.comm), expected)


def test_one_rank_may_have_no_terms(world):
    terms = np.ones((1, 3)) if world.is_root else np.ones((1, 0))
    assert exact_sums(terms, 3, world.comm)[0] == 3.0


def test_random_fields_are_the_same_on_all_ranks_and_on_finer_grids(world):
    random = RandomSpectrum(RandomSpectrum.Settings(), seed=world.comm.bcast(3))
    field = random.coefficients(16, 2)
    assert world.comm.allgather(field.tobytes()) == [field.tobytes()] * world.size
    finer = random.coefficients(32, 2)
    np.testing.assert_array_equal(finer[:8, :8], field[:8, :8])
    np.testing.assert_array_equal(finer[-7:, :8], field[-7:, :8])
    assert not np.array_equal(random.coefficients(16, 1), field)


# --- Bad meshes and members ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("mesh", "words"),
    [
        ((1, 1), "needs 1 ranks, but"),
        ((2, 8), "needs 16 ranks"),
        ((9, 1), "needs 9 ranks"),
    ],
)
def test_a_mesh_that_does_not_match_the_ranks_is_refused_on_all(
    world, shared_tmp_path, mesh, words
):
    if mesh == (1, 1) and world.size == 1:
        pytest.skip("one rank is that mesh")
    with pytest.raises(CaseError, match=words):
        simulated(world, shared_tmp_path, shared_tmp_path / "x", [f"transform.mesh={list(mesh)}"])
    assert not (shared_tmp_path / "x").exists()


@pytest.mark.parametrize("direction", ["members", "pencils"])
def test_a_mesh_beyond_members_or_rows_is_refused_on_all(world, direction):
    size = world.size
    if size == 1:
        pytest.skip("one rank always fits")
    members, rows = (size - 1, size) if direction == "members" else (size, size - 1)
    shape = (size, 1) if direction == "members" else (1, size)
    with pytest.raises(CaseError, match="may be at most"):
        world.mesh(members, rows, shape)


def test_ranks_that_fit_no_mesh_are_refused_on_all(world):
    if world.size == 1:
        pytest.skip("one rank always fits")
    with pytest.raises(CaseError, match="do not fit 1 member"):
        world.mesh(members=1, rows=world.size - 1)


def test_an_initial_field_with_too_few_members_is_refused_on_all(world, shared_tmp_path):
    path = shared_tmp_path / "omega.npy"
    if world.is_root:
        np.save(path, np.zeros((1, 16, 16)))
    world.comm.Barrier()
    initial = f"base.flow.initial={{kind='file', path='{path}'}}"
    with pytest.raises(CaseError, match="holds 1 members"):
        simulated(world, shared_tmp_path, shared_tmp_path / "x", [initial])
    assert not (shared_tmp_path / "x").exists()
