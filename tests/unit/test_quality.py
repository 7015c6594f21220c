"""What is said of samples that cannot be trusted, and of those that can."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.artefacts.dataset.quality import quality
from eddyscope.artefacts.dataset.schema import EnsembleSettings


class Known:
    """A dataset of two members whose diagnostics and fields are given."""

    system = "base"
    viscosity = 0.01
    fields = ("omega", "pi", "psi")

    def __init__(self, energy, omega, palinstrophy=1.0, **split):
        records = len(energy)
        self.case = {
            "grid": {"n": 64},
            "base": {
                "ensemble": {"interval": 0.5, "spin_up": 1.0},
            },
        }
        self.time = np.broadcast_to(1.0 + 0.5 * np.arange(omega.shape[1]), (2, omega.shape[1]))
        self.members, self.samples = omega.shape[:2]
        self.grids = [4]
        self._diagnostics = {
            "time": np.linspace(1.0, self.time.max(), records),
            "energy": np.array([energy, energy]),
            "palinstrophy": np.full((2, records), palinstrophy),
        }
        self._omega = omega
        split = split or {"train": 1, "test": 1}
        self.parts = EnsembleSettings.model_validate(
            {"members": 2, "samples": self.samples, "interval": 0.5, "split": split}
        ).parts

    def diagnostics(self):
        return self._diagnostics

    def read(self, n, name, members, samples=slice(None)):
        return self._omega[members, samples][:, :, None]  # one layer


@pytest.fixture
def noise(rng):
    return rng.standard_normal((2, 12, 4, 4))


def test_good_samples_are_not_complained_of(noise):
    assert quality(Known(np.ones(20), noise)).warnings == ()


def test_a_drift_is_told_with_its_size_and_the_setting_to_change(noise):
    found = quality(Known(np.linspace(1.0, 2.0, 20), noise))
    assert found.drift > 0.3
    assert any("stationary" in w and "base.ensemble.spin_up" in w for w in found.warnings)


def test_samples_alike_are_told_with_an_interval_that_would_do(noise):
    omega = np.repeat(noise[:, :1], 12, axis=1) + 0.5 * noise
    found = quality(Known(np.ones(20), omega))
    expected = np.exp(-0.5 / found.decorrelation_time)
    assert found.correlation == pytest.approx(expected)
    assert any("independent" in w and "base.ensemble.interval" in w for w in found.warnings)


@pytest.mark.parametrize("rounding", [0.0, 1e-7])
def test_members_that_are_one_run_are_told(noise, rounding):
    omega = noise.copy()
    omega[1] = omega[0] * (1.0 + rounding * noise[1])
    (warning,) = quality(Known(np.ones(20), omega)).warnings
    assert "members 0, 1 are alike" in warning and "base.flow.initial" in warning


def test_two_samples_of_one_pattern_are_no_alike_members(noise):
    """Samples of one member may be alike; members are compared at the last sample alone."""
    omega = np.repeat(noise[:, :1], 12, axis=1)
    assert not any("alike" in w for w in quality(Known(np.ones(20), omega)).warnings)


def test_resolution_is_that_of_the_enstrophy_cascade(noise):
    found = quality(Known(np.ones(20), noise, palinstrophy=1e6))
    assert found.k_max_eta == pytest.approx(31 * (0.01**2 / 2e6) ** (1 / 6))
    assert any("grid.n" in w for w in found.warnings)
    wanted = int(next(w for w in found.warnings if "grid.n" in w).split("grid.n = ")[1].split()[0])
    assert wanted == pytest.approx(64 * 1.5 / found.k_max_eta, abs=2.0)


def slow(rng):
    """Fields that keep 0.8 of their pattern over an interval of 0.5."""
    omega = rng.standard_normal((2, 40, 16, 16))
    for s in range(1, 40):
        omega[:, s] = 0.8 * omega[:, s - 1] + 0.6 * omega[:, s]
    return omega


@pytest.mark.parametrize(("gap", "told"), [(0.0, 0.5), (3.0, 3.5), (6.5, None)])
def test_parts_of_one_run_that_are_too_near_are_told(rng, gap, told):
    """They decorrelate over 2.24, so a gap of three times that is asked for."""
    split = {"kind": "time", "gap": gap, "train": 0.6, "validation": 0.0, "test": 0.4}
    found = quality(Known(np.ones(20), slow(rng), **split))
    near = [warning for warning in found.warnings if "resemble" in warning]
    if told is None:
        assert not near
        return
    (warning,) = near
    assert (
        f"runs are {told:g} apart, {told / found.decorrelation_time:.1f} decorrelation" in warning
    )
    wanted = float(warning.split("base.ensemble.split.gap = ")[1].split()[0])
    assert wanted == pytest.approx(3 * found.decorrelation_time, rel=0.05)
    assert not any("resemble" in w for w in quality(Known(np.ones(20), slow(rng))).warnings)


def test_all_is_said_in_one_line(rng):
    omega = slow(rng)
    words = quality(Known(np.ones(20), omega)).summary
    assert words.startswith("k_max·η = ")
    assert "drifts by 0 ± 0 %" in words
    assert "correlate by 0.80" in words
    assert "decorrelation time 2.2" in words or "decorrelation time 2.3" in words


def test_a_flow_at_rest_is_said_to_be_so(noise):
    found = quality(Known(np.zeros(20), 0.0 * noise, palinstrophy=0.0))
    assert found.summary == "at rest"
    (warning,) = found.warnings
    assert "at rest" in warning and "base.flow.initial" in warning


def test_samples_alike_to_the_last_bit_are_told_without_a_number(noise):
    found = quality(Known(np.ones(20), np.ones_like(noise)))
    assert not any("nan" in words for words in (found.summary, *found.warnings))
    assert any("raise base.ensemble.interval (now 0.5)" in warning for warning in found.warnings)


def test_what_cannot_be_known_of_one_sample_is_left_out(noise):
    words = quality(Known(np.ones(20), noise[:, :1])).summary
    assert "correlate" not in words and "nan" not in words


def test_what_is_not_known_is_said_to_be_so(noise):
    """As of data from elsewhere, without diagnostics."""
    found = quality(Known(np.full(20, np.nan), noise, palinstrophy=np.nan))
    assert found.summary.startswith("resolution not known, energy not known, successive samples")
    assert "nan" not in found.summary and found.warnings == ()
