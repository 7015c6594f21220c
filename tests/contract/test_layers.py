"""What a flow of several layers is: two that do not couple are one, twice, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from array_bytes import array_bytes
from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.filtering.kernels import FILTERS
from eddyscope.filtering.subgrid import Subgrid, unfiltered
from eddyscope.flows.base import FlowSettings
from eddyscope.flows.initial import INITIALS, initialise
from eddyscope.flows.navier_stokes import NavierStokes
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.stages import dns
from eddyscope.stages.ensemble import Ensemble
from eddyscope.stages.job import Job
from layered_flow import LAYERS, Uncoupled, make_pair
from small_flows import make_case, make_scheme, state_of

N = 18
MEMBERS = 3
TERMS = {
    "drag": 0.1,
    "beta": 3.0,
    "forcing": {"kind": "ring", "wavenumber": 4.0, "energy_input": 0.5},
}
STEADY = {"forcing": {"kind": "deterministic", "wavenumber": 3}}


def meshes(size, kind="fftw"):
    """Of members and pencils, where the transform has them; rows that no rank count divides."""
    fits = [(m, size // m) for m in range(1, MEMBERS + 1) if size % m == 0 and size // m <= N // 2]
    return [mesh for mesh in fits if mesh[1] == 1 or TRANSFORMS[kind].has_pencils]


def advanced(flow, scheme, start):
    """The state after three steps from `start`, which the host has; on the transform's device."""
    state, stepper = flow.transform.zeros_spectral(), make_scheme(scheme, flow, 0.01)
    state[...] = flow.transform.from_host(start)
    for step in range(3):
        stepper.step(state, 0.01 * step, step, NoClosure().pi_hat)
    return state


def start_of(transform):
    """`state_of` a transform, on the host."""
    return transform.to_host(state_of(transform))


def twice(array):
    """One layer's array (member, 1, …) as that of two layers."""
    return np.repeat(array, LAYERS, axis=1)


@pytest.fixture(params=list(TRANSFORMS))
def kind(request):
    return request.param


@pytest.mark.mpi
@pytest.mark.parametrize("settings", [TERMS, STEADY], ids=["kicks and waves", "steady force"])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_steps_of_each_layer_are_those_of_one(world, scheme, settings, kind):
    for mesh in meshes(world.size, kind):
        one, two = make_pair(world, settings, N, MEMBERS, mesh=mesh, kind=kind)
        start = start_of(one.transform)
        expected, found = (
            flow.transform.to_host(advanced(flow, scheme, state))
            for flow, state in ((one, start), (two, twice(start)))
        )
        assert found.tobytes() == twice(expected).tobytes(), mesh
        np.testing.assert_array_equal(one.max_velocity(), two.max_velocity())


@pytest.mark.mpi
def test_layers_may_differ(world):
    """Member 1's field above member 0's: each goes its own way, and what is summed adds up."""
    one, two = make_pair(world, STEADY, N, 2, mesh=(1, world.size))
    below = state_of(one.transform)
    above = below[::-1].copy()
    found = advanced(two, "ifrk3", np.concatenate([below, above], axis=1))
    expected = advanced(one, "ifrk3", below)
    np.testing.assert_array_equal(found, np.concatenate([expected, expected[::-1]], axis=1))
    means = Diagnostics(two).means(found, 0.0, 0)
    for name, values in Diagnostics(one).means(expected, 0.0, 0).items():
        np.testing.assert_allclose(means[name], values + values[::-1], rtol=1e-13)


@pytest.mark.mpi
def test_means_and_spectra_of_two_layers_are_twice_those_of_one(world, kind):
    for mesh in meshes(world.size, kind):
        one, two = make_pair(world, TERMS, N, MEMBERS, mesh=mesh, kind=kind)
        start = start_of(one.transform)
        found = []
        for flow, state in ((one, start), (two, twice(start))):
            state, diagnostics = advanced(flow, "ifrk3", state), Diagnostics(flow)
            advection = flow.advection(state, flow.transform.zeros_spectral())
            means = diagnostics.means(state, 0.03, 3, elapsed=0.03)
            found.append(
                {
                    **means,
                    **{
                        f"{k} spectrum": v for k, v in diagnostics.spectra(state, advection).items()
                    },
                }
            )
        for name, expected in found[0].items():
            if (
                kind == "torch"
            ):  # its sums over arrays of another shape round otherwise on some CPUs
                np.testing.assert_allclose(found[1][name], 2.0 * expected, rtol=1e-12)
            else:
                assert found[1][name].tobytes() == (2.0 * expected).tobytes(), (name, mesh)


@pytest.mark.mpi
def test_filtered_fields_of_each_layer_are_those_of_one(world, kind):
    settings = FILTERS.settings("gaussian", n=[6, 12])
    for mesh in meshes(world.size, kind):
        one, two = make_pair(world, TERMS, N, MEMBERS, mesh=mesh, kind=kind)
        state = start_of(one.transform)
        samples, full = [], []
        for flow, start in ((one, state), (two, twice(state))):
            omega_hat = flow.transform.from_host(start)
            advection = flow.advection(omega_hat, flow.transform.zeros_spectral())
            subgrid = Subgrid(flow, settings, TRANSFORMS.settings(kind))
            samples.append(subgrid.sample(omega_hat, advection))
            full.append(unfiltered(flow, omega_hat))
        for n, members in samples[0].items():
            for member, fields in members.items():
                for name, expected in fields.items():
                    found = samples[1][n][member][name]
                    assert expected.shape == (1, n, n)
                    np.testing.assert_array_equal(found, np.repeat(expected, LAYERS, axis=0))
        for member, expected in full[0].items():
            np.testing.assert_array_equal(full[1][member], np.repeat(expected, LAYERS, axis=0))


@pytest.mark.mpi
def test_a_checkpoint_holds_every_layer(world, shared_tmp_path):
    for mesh in meshes(world.size):
        _, two = make_pair(world, STEADY, N, MEMBERS, mesh=mesh)
        start = state_of(two.transform)
        start[:, 1] *= 2.0
        folder = shared_tmp_path / f"{mesh[0]}x{mesh[1]}"
        checkpoints = Checkpoints(folder, CheckpointSettings(), "a run", two.transform)
        checkpoints.save({"step": 1}, {"omega_hat": start})
        world.comm.Barrier()
        path = str(folder / "step-0000000001.h5")
        initial = INITIALS.build(INITIALS.settings("checkpoint", path=path), 0)
        again = two.transform.zeros_spectral()
        initialise(again, two.transform, initial)
        np.testing.assert_array_equal(again, start)


def test_random_layers_are_independent_and_files_may_hold_each(tmp_path, rng):
    _, two = make_pair(World.single(), STEADY, N)
    state = two.transform.zeros_spectral()
    initialise(state, two.transform, INITIALS.build(INITIALS.settings("random"), 3))
    first, second = state[0]
    inside = np.abs(first) > 0
    assert not np.isclose(np.angle(first[inside]), np.angle(second[inside])).any()
    omega = rng.standard_normal((1, LAYERS, N, N))
    np.save(tmp_path / "omega.npy", omega)
    settings = INITIALS.settings("file", path=str(tmp_path / "omega.npy"))
    initialise(state, two.transform, INITIALS.build(settings, 0))
    for layer in range(LAYERS):
        alone = two.transform.gather(state, N)[0][layer]
        expected = np.fft.rfft2(omega[0, layer], norm="forward")[1:5, 1:5]
        np.testing.assert_allclose(alone[1:5, 1:5], expected, atol=1e-15)


def test_coupled_layers_have_their_energy_in_common(rng):
    """A quadratic form with a part across layers, against its sum by the definition."""
    _, two = make_pair(World.single(), STEADY, N)
    two.layer_weights = (0.25, 0.75)

    def energy_weights(k2):
        return {(i, j): (2.0 if i == j else 1.0) / (k2 + 3.0) for i in (0, 1) for j in (0, 1)}

    two.energy_weights = energy_weights  # type: ignore[method-assign]
    transform, diagnostics = two.transform, Diagnostics(two)
    state = state_of(transform)
    state[:, 1] = 0.5j * state[:, 0] + state[:, 0]
    advection = two.advection(state, transform.zeros_spectral())
    kx, ky = transform.kx, transform.ky
    weights = np.asarray(energy_weights((kx**2 + ky**2)[0, 0])[0, 0]) / 2.0
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]])
    counted = (transform.weight * transform.keep)[0, 0]

    def form(a, b):
        return np.einsum("lij,lm,mij,ij->ij", a[0].conj(), matrix, b[0], weights).real * counted

    def plain(a, b):
        return np.einsum("lij,l,lij->ij", a[0].conj(), two.layer_weights, b[0]).real * counted

    f_hat = transform.zeros_spectral()
    two.add_forcing(f_hat, 0.0, 0, 1.0)
    loss = (two.damping + two.drag)[0, 0]
    means = diagnostics.means(state, 0.0, 0)
    expected = {
        "energy": 0.5 * form(state, state),
        "energy_input": -form(state, f_hat),
        "energy_dissipation": loss * form(state, state),
        "enstrophy": 0.5 * plain(state, state),
        "enstrophy_input": -plain(state, f_hat),
    }
    for name, terms in expected.items():
        assert means[name][0] == pytest.approx(terms.sum(), rel=1e-12, abs=1e-15), name
    spectra = diagnostics.spectra(state, advection)
    shell = np.ceil(np.hypot(kx, ky)[0, 0] - 0.5).astype(int)
    for name, terms in (
        ("energy", 0.5 * form(state, state)),
        ("enstrophy", 0.5 * plain(state, state)),
    ):
        sums = np.bincount(shell.ravel(), weights=terms.ravel())[1 : N // 2]
        np.testing.assert_allclose(spectra[name][0], sums, rtol=1e-12)
    flux = np.cumsum(np.bincount(shell.ravel(), weights=form(state, advection).ravel())[1 : N // 2])
    np.testing.assert_allclose(spectra["energy_flux"][0], flux, atol=1e-12 * np.abs(flux).max())


def test_energy_of_two_quasi_geostrophic_layers_is_such_a_form(rng):
    """What `flows/base.py` says of them: ½ Σ_l δ_l ω_l* ψ_l is their kinetic and potential energy,
    and its matrix is symmetric."""
    kd2, delta = 7.0, 0.2
    first, second = delta / (1.0 + delta), 1.0 / (1.0 + delta)
    coupling = np.array([kd2 / (1.0 + delta), delta * kd2 / (1.0 + delta)])
    weights = np.array([first, second])
    for k2 in (1.0, 5.0, 400.0):
        psi = rng.standard_normal(2) + 1j * rng.standard_normal(2)
        of_psi = np.diag(k2 + coupling) - np.array([[0, coupling[0]], [coupling[1], 0]])
        matrix = weights[:, None] * np.linalg.inv(of_psi)
        np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)
        omega = of_psi @ psi
        found = 0.5 * (omega.conj() @ matrix @ omega).real
        kinetic = 0.5 * k2 * (weights * np.abs(psi) ** 2).sum()
        potential = 0.5 * kd2 * first * second * abs(psi[0] - psi[1]) ** 2
        assert found == pytest.approx(kinetic + potential, rel=1e-12)


# --- Through the whole of `dns` ------------------------------------------------------------


RINGED = [
    "base.flow.beta=2.0",
    "base.flow.forcing={kind='ring', wavenumber=4.0, energy_input=0.5}",
]


@pytest.mark.mpi
def test_a_flow_of_layers_passes_through_the_whole_of_dns(world, shared_tmp_path, monkeypatch):
    """Planned, timed, simulated, judged: the flow's class is all that is exchanged."""
    case = world.on_root(lambda: make_case(shared_tmp_path, *RINGED))
    datasets = []
    for flow in (NavierStokes, Uncoupled):
        monkeypatch.setitem(FLOWS.entries, "navier_stokes", flow)
        job = Job(case, world, shared_tmp_path / flow.__name__, systems=("base",), measure=True)
        assert any("measured here" in line for line in dns.STAGE.plan(job))
        dns.STAGE.run(job)
        datasets.append(Dataset(job.dataset("base")))
        world.comm.Barrier()
    one, two = datasets
    assert (one.layers, two.layers) == (1, LAYERS)
    assert one.viscosity == two.viscosity == 0.01
    for name in ("psi", "omega", "pi"):
        # Layer 0 draws what one layer alone draws; the next draws its own.
        upper, lower = np.moveaxis(two.read(8, name), 2, 0)
        np.testing.assert_array_equal(upper, one.read(8, name)[:, :, 0])
        assert not np.isclose(lower, upper).all()
    assert np.isfinite(quality(two).k_max_eta)
    world.comm.Barrier()


@pytest.mark.mpi
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_sizes_of_a_flow_of_layers_are_those_of_its_objects(
    world, shared_tmp_path, everywhere, monkeypatch, scheme
):
    monkeypatch.setitem(FLOWS.entries, "navier_stokes", Uncoupled)
    overrides = [*RINGED, f"time.scheme='{scheme}'", "grid.n=96", "filter.n=[32, 48]"]
    case = world.on_root(lambda: make_case(shared_tmp_path, *overrides))
    ensemble = Ensemble.of(Job(case, world, shared_tmp_path / "out"), "base")
    simulation = ensemble.setup.simulation(ensemble.setup.make_transform(world))
    diagnostics = Diagnostics(simulation.flow)
    subgrid = Subgrid(simulation.flow, case.filter, case.transform)
    solver = array_bytes(simulation, diagnostics)
    coarse = array_bytes(simulation, diagnostics, subgrid) - solver
    solver = max(world.comm.allgather(solver))
    sizes = ensemble.sizes
    everywhere(sizes.solver == pytest.approx(solver, rel=0.03), f"{sizes.solver}, {solver}")
    everywhere(sizes.coarse == pytest.approx(coarse, rel=0.03), f"{sizes.coarse}, {coarse}")


def test_a_flow_says_itself_how_it_is_written():
    flow = FLOWS.settings("navier_stokes", reynolds=1e4)
    assert flow.words == "`navier_stokes`, Reynolds number 10000, left to decay"
    assert flow.stirred_at is None
    flow = FLOWS.settings(
        "navier_stokes",
        reynolds=500.0,
        drag=0.125,
        beta=2.5,
        hyperviscosity={"order": 4, "coefficient": 1e-9},
        friction={"coefficient": 0.3},
        forcing={"kind": "ring", "wavenumber": 6, "energy_input": 0.75},
    )
    assert flow.words == (
        "`navier_stokes`, Reynolds number 500, drag 0.125, β = 2.5, "
        "hyperviscosity (order 4, coefficient 1e-09), friction (order 1, coefficient 0.3), "
        "stirred at wavenumber 6 (ring, width 2, energy input 0.75)"
    )

    assert flow.stirred_at == 6.0

    class Plain(FlowSettings):
        kind: str = "plain"

    assert (Plain().words, Plain().stirred_at) == ("`plain`", None)
