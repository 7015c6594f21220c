"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.artefacts.key import ModelKey
from eddyscope.learning.batches import Fields
from eddyscope.learning.evaluation import Outcome, spectra_of_members, system_details
from eddyscope.learning.metrics import METRICS, shell_spectrum, snapshot_metrics
from eddyscope.networks.settings import Channels

N = 16
X = np.arange(N) * 2 * np.pi / N
COS = np.broadcast_to(np.cos(2 * X), (N, N))
SIN = np.broadcast_to(np.sin(3 * X), (N, N)).T


def one(predicted: np.ndarray, true: np.ndarray, omega: np.ndarray, std: float = 1.0):
    values = snapshot_metrics(predicted[None], true[None], omega[None], std)
    return {name: float(value[0]) for name, value in values.items()}


def test_perfect_prediction():
    found = one(COS, COS, SIN + COS, 0.5)
    assert found["mse"] == found["error"] == found["relative_rmse"] == 0.0
    assert found["spectrum_error"] == found["exchange_error"] == 0.0
    for name in ("correlation", "correlation_forward", "correlation_backscatter"):
        assert found[name] == pytest.approx(1.0)
    assert found.keys() == METRICS.keys()


def test_half_the_amplitude():
    """Π = cos, p = cos / 2: ⟨(p - Π)²⟩ = 1/8, ⟨Π²⟩ = 1/2; every shell is off by a half."""
    found = one(0.5 * COS, COS, COS, 0.5)
    assert found["mse"] == pytest.approx(0.125 / 0.25)
    assert found["error"] == pytest.approx(0.25)
    assert found["relative_rmse"] == pytest.approx(0.5)
    assert found["correlation"] == pytest.approx(1.0)
    assert found["spectrum_error"] == pytest.approx(0.5)
    assert found["exchange_error"] == pytest.approx(0.5)


def test_half_of_the_variance_explained():
    """Π = cos + sin of equal variance, p = cos: correlation 1/√2."""
    found = one(COS, COS + SIN, SIN)
    assert found["correlation"] == pytest.approx(np.sqrt(0.5))
    assert found["error"] == pytest.approx(0.5)


def test_sense_of_transfer_splits_the_points():
    """With ω = -∇⁻²Π the product Π ∇²ω = -Π² is negative everywhere: all is backscatter."""
    shifted = np.broadcast_to(np.cos(2 * X + 0.1), (N, N))  # no point where it is zero
    found = one(shifted, shifted, shifted / 4)
    assert found["correlation_forward"] == 0.0  # no such point: nothing is told
    assert found["correlation_backscatter"] == pytest.approx(1.0)


def test_error_is_relative_to_all_snapshots():
    true = np.stack([COS, 3 * COS])
    found = snapshot_metrics(np.zeros_like(true), true, true, 1.0)
    np.testing.assert_allclose(found["error"], [0.2, 1.8])
    np.testing.assert_allclose(found["relative_rmse"], [1.0, 1.0])


def test_shells_hold_their_modes():
    spectrum = shell_spectrum(np.stack([COS, 2 * SIN]))
    expected = np.zeros((2, N // 2 - 1))
    expected[0, 1], expected[1, 2] = 1.0, 2.0  # two modes of amplitude 1/2 each, or 1
    np.testing.assert_allclose(spectrum, expected, atol=1e-14)
    power = shell_spectrum(COS + SIN, power=2)
    np.testing.assert_allclose(power.sum(), np.mean((COS + SIN) ** 2))


def test_layers_are_part_of_a_snapshot():
    """Two layers alike give what one layer gives; unlike ones the mean of their squares."""
    two = [np.stack([field, field])[None] for field in (0.5 * COS, COS, COS)]
    alone = one(0.5 * COS, COS, COS)
    for name, value in snapshot_metrics(*two, 1.0).items():
        assert value.shape == (1,)
        assert value[0] == pytest.approx(alone[name]), name
    true = np.stack([COS, SIN])[None]
    predicted = np.stack([COS, 0.0 * SIN])[None]
    found = snapshot_metrics(predicted, true, true, 1.0)
    assert found["error"][0] == pytest.approx(0.5)
    assert found["spectrum_error"][0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("layers", "dims"),
    [
        (1, ("model", "member", "wavenumber")),
        (2, ("model", "member", "layer", "wavenumber")),
    ],
)
def test_a_lone_layer_has_no_dimension_on_the_disk(layers: int, dims: tuple[str, ...]):
    field = np.stack([np.stack([COS + SIN] * layers)] * 3).astype("float32")
    values = dict.fromkeys(("psi", "omega", "pi"), field)
    fields = Fields(values, ((4, 0), (4, 2), (7, 0)))
    metrics = snapshot_metrics(0.5 * field, field, field, 1.0)
    spectrum = 0.5 * spectra_of_members(field, fields)
    details = system_details(
        {ModelKey(): Outcome(metrics, spectrum)}, fields, Channels.of_flow(layers)
    )
    assert details["pi_spectrum"].dims == dims
    assert details["pi_spectrum_true"].dims == dims[1:]
    np.testing.assert_allclose(details["pi_spectrum"][0], 0.5 * details["pi_spectrum_true"])
    error = details["error"].sel(model="base")
    np.testing.assert_allclose(error.sel(member=4, sample=[0, 2]), 0.25)
    assert np.isnan(error.sel(member=7, sample=2))


def test_what_is_not_periodic_or_no_subgrid_term_has_fewer_metrics():
    rng = np.random.default_rng(4)
    p, t, w = rng.standard_normal((3, 2, 6, 8))
    found = snapshot_metrics(p, t, w, 1.0, spectral=False)
    of_spectra = {"spectrum_error", "correlation_forward", "correlation_backscatter"}
    assert set(METRICS) - set(found) == of_spectra
    of_pi = {"exchange_error", "correlation_forward", "correlation_backscatter"}
    assert set(METRICS) - set(snapshot_metrics(p[..., :6], t[..., :6], None, 1.0)) == of_pi
    assert list(found) == [name for name in METRICS if name in found]
