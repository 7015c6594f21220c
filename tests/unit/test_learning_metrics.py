"""Metrics against values worked out by hand."""

from __future__ import annotations

import re

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
PSI = np.broadcast_to(np.cos(X), (N, N))
PEAK = np.zeros((N, N))
PEAK[3, 5] = 4.0
"""One point in 256 is above three standard deviations."""


def one(predicted: np.ndarray, true: np.ndarray, omega: np.ndarray, std: float = 1.0):
    values = snapshot_metrics(
        predicted[None], true[None], std, omega=omega[None], psi=PSI[None] + omega[None]
    )
    return {name: float(value[0]) for name, value in values.items()}


def test_perfect_prediction():
    found = one(COS + PEAK, COS + PEAK, SIN + COS, 0.5)
    for name in ("mse", "error", "relative_rmse", *(n for n in METRICS if n.endswith("_error"))):
        assert found[name] == 0.0, name
    assert found["tail_ratio"] == found["quantile_ratio"] == 1.0
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
    of_halves = [name for name in METRICS if name.endswith("_error")]
    assert len(of_halves) == 5
    for name in of_halves:
        assert found[name] == pytest.approx(0.5), name
    assert found["quantile_ratio"] == pytest.approx(0.5)


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
    found = snapshot_metrics(np.zeros_like(true), true, 1.0)
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
    p, t, w, psi = (np.stack([field, field])[None] for field in (0.5 * COS, COS, COS, PSI + COS))
    alone = one(0.5 * COS, COS, COS)
    for name, value in snapshot_metrics(p, t, 1.0, omega=w, psi=psi).items():
        assert value.shape == (1,)
        assert value[0] == pytest.approx(alone[name]), name
    true = np.stack([COS, SIN])[None]
    predicted = np.stack([COS, 0.0 * SIN])[None]
    found = snapshot_metrics(predicted, true, 1.0, omega=true)
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
    metrics = snapshot_metrics(0.5 * field, field, 1.0, omega=field)
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


def test_transfers_by_scale_and_in_all():
    """ψ = 3 cos 2x + sin 3y, Π = cos 2x + 4 sin 3y: T_E(2) = −3/2, T_E(3) = −2, P_E = −7/2. The
    prediction 3 cos 2x has T_E(2) = −9/2, T_E(3) = 0: wrong by 3 and 2 of 7/2, and by 1 in all."""
    psi, true, predicted = 3 * COS + SIN, COS + 4 * SIN, 3 * COS
    found = snapshot_metrics(predicted[None], true[None], 1.0, psi=psi[None])
    assert found["energy_transfer_spectrum_error"][0] == pytest.approx(5.0 / 3.5)
    assert found["energy_transfer_error"][0] == pytest.approx(1.0 / 3.5)
    assert not any("enstrophy" in name or "forward" in name for name in found)
    swapped = snapshot_metrics(predicted[None], true[None], 1.0, omega=psi[None])
    for kind in ("transfer_error", "transfer_spectrum_error"):
        assert swapped[f"enstrophy_{kind}"] == found[f"energy_{kind}"]
        assert f"energy_{kind}" not in swapped


def test_transfers_of_opposite_sense_do_not_hide_each_other():
    """Π = cos 2x + sin 3y, ψ = cos 2x − sin 3y: no net transfer of truth or prediction, but the
    prediction 2 Π has twice the transfer of each shell."""
    psi, true = (COS - SIN)[None], (COS + SIN)[None]
    found = snapshot_metrics(2 * true, true, 1.0, psi=psi)
    assert found["energy_transfer_spectrum_error"][0] == pytest.approx(1.0)


def test_transfers_are_relative_to_all_snapshots():
    psi, true = np.stack([COS, COS]), np.stack([COS, 3 * COS])
    found = snapshot_metrics(np.zeros_like(true), true, 1.0, psi=psi)
    np.testing.assert_allclose(found["energy_transfer_error"], [0.5, 1.5])
    np.testing.assert_allclose(found["energy_transfer_spectrum_error"], [1.0, 1.0])


def test_tails_count_points_beyond_three_deviations_of_the_truth():
    """Of 256 points ± 1 have four at 10 in place of 1: σ² = 1 + 4 · 99/256 and μ = 36/256, so
    these four are beyond 3σ = 4.8. The prediction has two at 10, and one at 5."""
    true = np.where(np.indices((N, N)).sum(axis=0) % 2, 1.0, -1.0)
    places = [(0, 1), (0, 3), (0, 5), (0, 7)]
    for place in places:
        true[place] = 10.0
    predicted = true.copy()
    predicted[0, 5], predicted[0, 7] = 5.0, 1.0
    found = snapshot_metrics(predicted[None], true[None], 1.0)
    assert found["tail_ratio"][0] == pytest.approx(3 / 4)
    shifted = snapshot_metrics(predicted[None] + 7.0, true[None] + 7.0, 1.0)
    assert shifted["tail_ratio"][0] == pytest.approx(3 / 4), "μ is the truth's mean"


def test_each_member_has_deviations_of_its_own():
    """A member ten times as strong as another: a perfect prediction has ratios 1 in both, in the
    mean of its snapshots; half of the truth has quantiles of a half."""
    rng = np.random.default_rng(1)
    true = (
        rng.standard_normal((6, N, N)) * np.array([1.0, 1.0, 1.0, 10.0, 10.0, 10.0])[:, None, None]
    )
    members = [2, 2, 2, 5, 5, 5]
    perfect = snapshot_metrics(true, true, 1.0, members=members)
    half = snapshot_metrics(0.5 * true, true, 1.0, members=members)
    for member in (slice(0, 3), slice(3, 6)):
        for name in ("tail_ratio", "quantile_ratio"):
            assert perfect[name][member].mean() == pytest.approx(1.0)
        assert half["quantile_ratio"][member].mean() == pytest.approx(0.5, abs=0.01)
        assert half["tail_ratio"][member].mean() < 0.1
    together = snapshot_metrics(true, true, 1.0)
    assert together["tail_ratio"][3:].mean() > 1.9, "or else they are taken for one member"


def test_a_truth_without_tails_has_no_ratio_of_them():
    assert "tail_ratio" not in snapshot_metrics(COS[None], COS[None], 1.0)
    flat = snapshot_metrics(COS[None], 0.0 * COS[None] + 2.0, 1.0)
    assert "tail_ratio" not in flat and "quantile_ratio" not in flat


def test_every_metric_is_defined():
    import eddyscope.learning.metrics as home

    assert all(re.search(rf"\b{name}\b", home.__doc__ or "") for name in METRICS)


def test_what_is_not_periodic_or_no_subgrid_term_has_fewer_metrics():
    rng = np.random.default_rng(4)
    p, t, w, psi = rng.standard_normal((4, 2, 6, 8))
    t[0, 0, 0] = 20.0
    found = snapshot_metrics(p, t, 1.0, omega=w, psi=psi, spectral=False)
    of_shells = {name for name in METRICS if name.endswith("spectrum_error")}
    assert len(of_shells) == 3
    assert set(METRICS) - set(found) == of_shells | {
        "correlation_forward",
        "correlation_backscatter",
    }
    of_pi = {name for name in METRICS if "_transfer_" in name}
    of_pi |= {"correlation_forward", "correlation_backscatter"}
    assert set(METRICS) - set(snapshot_metrics(p[..., :6], t[..., :6], 1.0)) == of_pi
    assert list(found) == [name for name in METRICS if name in found]
