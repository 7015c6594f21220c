"""A model as a closure: what it predicts is the network's output in physical units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.closures.learned import LearnedClosure
from eddyscope.config.errors import CaseError
from eddyscope.learning.models import Model, save_model
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from synthetic_models import record_of

SETTINGS = Cnn.Settings(depth=3, width=4, kernel_size=3)
ZERO = {"psi": 0.0, "omega": 0.0, "pi": 0.0}


def normalisation(pi: float) -> Normalisation:
    std = {"psi": 0.1, "omega": 3.0, "pi": pi}
    return Normalisation(name="target", system="target", samples=3, mean=ZERO, std=std)


def network() -> LayeredModel:
    return build(SETTINGS, Channels.of_flow(), (1,))


@pytest.fixture
def closure(tmp_path: Path) -> LearnedClosure:
    path = tmp_path / "base.safetensors"
    save_model(path, Model(network(), record_of("base", SETTINGS, normalisation(0.7))))
    return LearnedClosure.from_file(path, SETTINGS)


def test_prediction_is_the_networks_in_physical_units(closure, rng):
    psi, omega = 0.1 * rng.standard_normal((11, 16, 16)), 3.0 * rng.standard_normal((11, 16, 16))
    inputs = torch.from_numpy(np.stack([psi / 0.1, omega / 3.0], axis=1).astype(np.float32))
    with torch.no_grad():
        expected = 0.7 * network()(inputs)[:, 0].double().numpy()
    out = np.empty_like(psi)
    found = closure.pi(psi, omega, out)
    assert found is out and found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_no_members_on_this_rank(closure):
    assert closure.pi(np.empty((0, 16, 16)), np.empty((0, 16, 16))).shape == (0, 16, 16)


def test_each_member_is_predicted_on_its_own(closure, rng):
    psi, omega = rng.standard_normal((2, 5, 16, 16))
    together = closure.pi(psi, omega)
    for i in range(5):
        alone = closure.pi(psi[i : i + 1], omega[i : i + 1])[0]
        np.testing.assert_allclose(together[i], alone, rtol=1e-4, atol=1e-5)


def test_other_grid_is_refused(closure):
    with pytest.raises(CaseError, match="trained on 16 x 16 points"):
        closure.pi(np.zeros((1, 32, 32)), np.zeros((1, 32, 32)))


def test_normalisation_can_be_replaced(closure, rng):
    psi, omega = rng.standard_normal((2, 2, 16, 16))
    doubled = LearnedClosure(closure.model, normalisation(1.4)).pi(psi, omega)
    np.testing.assert_allclose(doubled, 2.0 * closure.pi(psi, omega), rtol=1e-6)
    snapshot = closure.per_snapshot()
    np.testing.assert_allclose(
        snapshot.pi(9.0 * psi, omega), snapshot.pi(psi, omega), rtol=1e-3, atol=1e-4
    )
