"""Offline metrics of a predicted subgrid term, snapshot by snapshot, in physical units.

With p the prediction and Π the truth, ⟨·⟩ the mean over a snapshot's points:
    mse                   ⟨(p - Π)²⟩ / σ², σ the normalisation's standard deviation of Π:
                          the loss of training
    error                 ⟨(p - Π)²⟩ / mean of ⟨Π²⟩ over all test snapshots
    correlation           ⟨p' Π'⟩ / √(⟨p'²⟩⟨Π'²⟩), primes: less the snapshot's mean
    correlation_forward,  the same over points where T = Π ∇²ω̄ > 0 (enstrophy lost to the
    correlation_backscatter     subgrid scales), and where T < 0 (given back)
    relative_rmse         √(⟨(p - Π)²⟩ / ⟨Π²⟩)
    spectrum_error        mean over k of |S_p(k) - S(k)| / S(k); S(k) is the sum of |Π̂| over
                          the shell k - 1/2 < |k| ≤ k + 1/2, k = 1 … n/2 - 1
    transfer_error        |⟨ω̄ p⟩ - ⟨ω̄ Π⟩| / mean of |⟨ω̄ Π⟩| over all test snapshots: the net
                          enstrophy exchanged with the subgrid scales

`summary` says what the mean and the standard deviation of a metric are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.spectral.half_plane import to_modes, to_points, wavenumbers
from eddyscope.spectral.shells import sums_over_half_plane

__all__ = ["METRICS", "by_member", "shell_spectrum", "snapshot_metrics", "summaries", "summary"]

Array = NDArray[Any]

METRICS = {
    "mse": "mean squared error of the normalised subgrid term",
    "error": "mean squared error over mean square of the subgrid term",
    "correlation": "pattern correlation",
    "correlation_forward": "pattern correlation where enstrophy goes to the subgrid scales",
    "correlation_backscatter": "pattern correlation where enstrophy comes from the subgrid scales",
    "relative_rmse": "root mean squared error over root mean square",
    "spectrum_error": "mean relative error of the amplitude spectrum over shells",
    "transfer_error": "relative error of the net enstrophy transfer",
}


def snapshot_metrics(
    predicted: Array, true: Array, omega: Array, pi_std: float
) -> dict[str, NDArray[np.float64]]:
    """Each of METRICS for each snapshot; fields are (sample, y, x), results (sample,)."""
    p, t, w = (np.asarray(field, dtype=np.float64) for field in (predicted, true, omega))
    square = np.mean((p - t) ** 2, axis=(1, 2))
    power = np.mean(t**2, axis=(1, 2))
    sense = t * _laplacian(w)
    exchanged = np.mean(w * t, axis=(1, 2))
    return {
        "mse": square / pi_std**2,
        "error": square / np.mean(power),
        "correlation": _correlation(p, t, np.ones(t.shape, bool)),
        "correlation_forward": _correlation(p, t, sense > 0),
        "correlation_backscatter": _correlation(p, t, sense < 0),
        "relative_rmse": np.sqrt(square / power),
        "spectrum_error": _spectrum_error(p, t),
        "transfer_error": np.abs(np.mean(w * p, axis=(1, 2)) - exchanged)
        / np.mean(np.abs(exchanged)),
    }


def by_member(values: Array, members: Sequence[int]) -> NDArray[np.float64]:
    """Mean over the samples of each member, members in ascending order."""
    owner = np.asarray(members)
    return np.array([np.mean(np.asarray(values)[owner == m]) for m in sorted(set(members))])


def summary(values: Array, members: Sequence[int]) -> dict[str, float]:
    """{"mean", "std"} of one metric over held-out snapshots, `members[i]` being i's member.

    Snapshots of a member are correlated in time, members are independent: so the mean is
    that over the members' means and `std` is their sample standard deviation. With a
    single held-out member `std` is that over its snapshots instead; with one snapshot, 0.
    `std_samples` is always that over all snapshots.
    """
    means = by_member(values, members)
    spread = means if len(means) > 1 else np.asarray(values)
    return {
        "mean": float(np.mean(means)),
        "std": _std(spread),
        "std_samples": _std(np.asarray(values)),
    }


def shell_spectrum(fields: Array, power: int = 1) -> NDArray[np.float64]:
    """Sum of |f̂|^power over shells k = 1 … n/2 - 1, f̂ = fft2(f)/n²; (…, y, x) -> (…, k).

    The corners beyond are left out, see `spectral/shells.py`.
    """
    return sums_over_half_plane(np.abs(to_modes(fields)) ** power)


def summaries(metrics: Mapping[str, Array], members: Sequence[int]) -> dict[str, dict[str, float]]:
    """`summary` of every metric."""
    return {name: summary(values, members) for name, values in metrics.items()}


def _std(values: Array) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _correlation(p: Array, t: Array, where: Array) -> NDArray[np.float64]:
    """Correlation over the points `where`; 0 if a side does not vary there (nothing is told)."""
    count = np.maximum(where.sum(axis=(1, 2)), 1)

    def mean(field: Array) -> Array:
        return np.asarray(np.where(where, field, 0.0).sum(axis=(1, 2)) / count)

    dp = p - mean(p)[:, None, None]
    dt = t - mean(t)[:, None, None]
    scale = np.sqrt(mean(dp**2) * mean(dt**2))
    result: Array = np.divide(mean(dp * dt), scale, out=np.zeros_like(scale), where=scale > 0)
    return result


def _spectrum_error(p: Array, t: Array) -> NDArray[np.float64]:
    spectrum, wanted = shell_spectrum(p), shell_spectrum(t)
    # A sharp filter leaves empty shells: they say nothing about a relative error.
    filled = wanted > 1e-12 * wanted.max(axis=1, keepdims=True)
    ratio = np.divide(np.abs(spectrum - wanted), wanted, out=np.zeros_like(wanted), where=filled)
    return np.asarray(ratio.sum(axis=1) / np.maximum(filled.sum(axis=1), 1))


def _laplacian(field: Array) -> Array:
    kx, ky = wavenumbers(field.shape[-1])
    return to_points(-(kx**2 + ky**2) * to_modes(field))
