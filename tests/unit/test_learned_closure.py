"""A model as a closure: what it predicts is the network's output in physical units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eddyscope.artefacts.dataset.derived import derive
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import Normalisation, write_normalisation
from eddyscope.closures.base import Sources
from eddyscope.closures.learned import Learned
from eddyscope.closures.on_points import OnPoints
from eddyscope.config.errors import CaseError
from eddyscope.learning.models import Model, save_model
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World
from eddyscope.spectral import half_plane
from eddyscope.spectral.half_plane import kept_modes
from small_flows import alone, make_flow, make_transform_on, state_of, to_points
from synthetic_models import record_of

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)
ZERO = {"psi": 0.0, "omega": 0.0, "pi": 0.0}


def normalisation(pi: float) -> Normalisation:
    std = {"psi": 0.1, "omega": 3.0, "pi": pi}
    return Normalisation(
        name="base", system="base", samples=3, mean=ZERO, std=std, omega_rms=3.0 * pi / 0.7
    )


def network() -> LayeredModel:
    return build(SETTINGS, Channels.of_flow(), (1,))


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A base model, one that was adapted, and the target's normalisation."""
    models, normalised = tmp_path / "models", tmp_path / "normalisation.json"
    for name in ("base", "l02"):
        record = record_of(name, SETTINGS, normalisation(0.7))
        save_model(ModelKey(name).path(models), Model(network(), record))
    write_normalisation(normalised, normalisation(1.4), "of a dataset")
    return Sources(models, normalised, tmp_path / "evaluation.json", SETTINGS)


def learned(sources: Sources, model: str = "l02") -> Learned:
    return Learned(Learned.Settings(model=model), sources)


def test_prediction_is_the_networks_in_physical_units(sources, rng):
    psi, omega = 0.1 * rng.standard_normal((11, 16, 16)), 3.0 * rng.standard_normal((11, 16, 16))
    inputs = torch.from_numpy(np.stack([psi / 0.1, omega / 3.0], axis=1).astype(np.float32))
    with torch.no_grad():
        expected = 0.7 * network()(inputs)[:, 0].double().numpy()
    found = learned(sources).pi(psi[:, None], omega[:, None])
    assert found.dtype == np.float64 and found.shape == (11, 1, 16, 16)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_no_members_on_this_rank(sources):
    nothing = np.empty((0, 1, 16, 16))
    assert learned(sources).pi(nothing, nothing).shape == (0, 1, 16, 16)


def test_each_member_is_predicted_on_its_own(sources, rng):
    psi, omega = rng.standard_normal((2, 5, 1, 16, 16))
    closure = learned(sources)
    together = closure.pi(psi, omega)
    for i in range(5):
        alone = closure.pi(psi[i : i + 1], omega[i : i + 1])[0]
        np.testing.assert_allclose(together[i], alone, rtol=1e-4, atol=1e-5)


def test_another_grid_is_refused(sources):
    with pytest.raises(CaseError, match="trained on 16 x 16 points"):
        learned(sources).on(alone(32), 0.4)


@pytest.mark.parametrize("name", ["base", "l02"])
def test_a_model_is_normalised_as_its_file_says_or_as_the_closure_does(sources, rng, name):
    """The target's Π and ω are twice the base's: `target` doubles what is predicted, and
    `dimensional` gives four times what is predicted of half the fields."""
    psi, omega = rng.standard_normal((2, 2, 1, 16, 16))

    def pi(way: str | None, psi: np.ndarray, omega: np.ndarray) -> np.ndarray:
        closure = Learned(Learned.Settings(model=name, normalisation=way), sources)
        assert closure.way == (way or "base")
        return closure.pi(psi, omega)

    stored = pi(None, psi, omega)
    np.testing.assert_array_equal(pi("base", psi, omega), stored)
    np.testing.assert_allclose(pi("target", psi, omega), 2.0 * stored, rtol=1e-6)
    halves = pi(None, psi / 2, omega / 2)
    np.testing.assert_allclose(pi("dimensional", psi, omega), 4.0 * halves, rtol=1e-6)


def test_a_models_scales_are_part_of_it(sources, rng):
    """On the host and on a device: 3 f(2 ψ, -ω)."""
    plain = learned(sources).model
    scales = {"psi": 2.0, "omega": -1.0, "pi": 3.0}
    scaled = Model(plain.network, plain.record.model_copy(update={"scales": scales}))
    save_model(ModelKey("l02").path(sources.models), scaled)
    psi, omega = rng.standard_normal((2, 2, 1, 16, 16))
    closure, base = learned(sources), learned(sources, "base")
    expected = 3.0 * base.pi(2.0 * psi, -omega)
    np.testing.assert_allclose(closure.pi(psi, omega), expected, rtol=1e-5, atol=1e-6)
    found = closure.pi_of_tensors(torch.from_numpy(psi), torch.from_numpy(omega))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_it_reads_what_decides_it(sources):
    base, other = Learned.Settings(model="base"), Learned.Settings(model="l02")
    stored = sources.models / "base.safetensors"
    assert base.reads(sources) == (stored,)
    way = other.model_copy(update={"normalisation": "dimensional"})
    assert way.text == "l02,normalisation=dimensional"
    assert way.reads(sources) == (*other.reads(sources), stored, sources.normalisation)
    with pytest.raises(CaseError, match="evaluate"):
        Learned.Settings(model="best").reads(sources)


def test_in_the_solver_it_sees_streamfunction_and_vorticity(sources):
    flow = alone(16)
    state = state_of(flow.transform)
    kept = state.copy()
    closure = learned(sources)
    psi_hat = flow.streamfunction(state, flow.transform.zeros_spectral())
    expected = closure.pi(*(to_points(flow.transform, hat)[None, None] for hat in (psi_hat, state)))
    found = to_points(flow.transform, closure.on(flow, 0.8).pi_hat(state))
    np.testing.assert_array_equal(state, kept)
    mean_free = kept_modes(expected)
    np.testing.assert_allclose(found, half_plane.to_points(mean_free)[0, 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", ["base", "snapshot"])
def test_on_a_device_it_stays_there_and_predicts_the_same(sources, way):
    """By tensors from end to end: numpy's arrays would be refused by the closure's function."""
    closure, found = learned(sources), {}
    closure.normalisation = closure.normalisation.model_copy(update={"name": way})
    for backend in ("fftw", "torch"):
        transform = make_transform_on(World.single(), 16, members=11, kind=backend)
        flow = make_flow(transform)
        pi_hat = closure.on(flow, 0.8).pi_hat(state_of(transform))
        found[backend] = transform.to_host(pi_hat)
    scale = np.abs(found["fftw"]).max()
    np.testing.assert_allclose(found["torch"], found["fftw"], rtol=0, atol=1e-6 * scale)


def test_a_function_of_numpy_arrays_serves_on_a_device_too(rng):
    """What knows no tensors is given arrays of the host, and what it gives goes to the device."""

    def pi(psi, omega):
        assert isinstance(psi, np.ndarray) and isinstance(omega, np.ndarray)
        return np.sin(psi) * omega

    found = {}
    for backend in ("fftw", "torch"):
        transform = make_transform_on(World.single(), 16, members=2, kind=backend)
        flow = make_flow(transform)
        found[backend] = transform.to_host(OnPoints(pi, flow).pi_hat(state_of(transform)))
    np.testing.assert_allclose(found["torch"], found["fftw"], rtol=0, atol=1e-14)


def test_a_network_of_velocity_and_strain_is_given_those_of_the_flow(tmp_path, rng):
    """ψ alone decides: what the closure is given is what `derive` makes of it."""
    channels = Channels.of_fields(["psi", "u", "strain"], ["pi"])
    std = {"psi": 0.1, "u": 0.5, "strain": 4.0, "pi": 0.7}
    own = Normalisation(
        name="target", system="target", samples=3, mean={**dict.fromkeys(std, 0.0), "strain": 2.0},
        std=std,
    )  # fmt: skip
    settings = SETTINGS.model_copy(update={"inputs": ("psi", "u", "strain")})
    record = record_of("l02", settings, own)
    made = build(settings, channels, (1,))
    save_model(ModelKey("l02").path(tmp_path), Model(made, record))
    sources = Sources(tmp_path, tmp_path / "n.json", tmp_path / "e.json", settings)
    psi, omega = rng.standard_normal((2, 2, 1, 16, 16))
    box = (2 * np.pi, 2 * np.pi)
    given = [psi[:, 0] / 0.1, derive("u", psi, box)[:, 0] / 0.5]
    given.append((derive("strain", psi, box)[:, 0] - 2.0) / 4.0)
    with torch.no_grad():
        inputs = torch.from_numpy(np.stack(given, axis=1).astype(np.float32))
        expected = 0.7 * made(inputs).double().numpy()
    np.testing.assert_allclose(learned(sources).pi(psi, omega), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        (["psi", "heat"], ["pi"], "does not know the network's input heat"),
        (["psi", "pi"], ["pi"], "does not know the network's input pi"),
        (["psi"], ["heat"], "gives heat, but a simulation needs pi"),
        (["psi"], ["pi", "heat"], "gives pi, heat"),
    ],
)
def test_networks_of_what_a_simulation_does_not_know_are_refused(inputs, outputs, words):
    with pytest.raises(CaseError, match=words):
        Learned.Settings(model="base").check_channels(Channels.of_fields(inputs, outputs), 1)
