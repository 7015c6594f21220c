"""Offline metrics of a predicted subgrid term, snapshot by snapshot, in physical units.

With p the prediction and Π the truth, ⟨·⟩ the mean over a snapshot's points and layers:
    mse                   ⟨(p - Π)²⟩ / σ², σ the normalisation's standard deviation of Π:
                          the loss of training
    error                 ⟨(p - Π)²⟩ / mean of ⟨Π²⟩ over all test snapshots
    correlation           ⟨p' Π'⟩ / √(⟨p'²⟩⟨Π'²⟩), primes: less the snapshot's mean
    correlation_forward,  the same over points where T = Π ∇²ω̄ > 0 (enstrophy lost to the
    correlation_backscatter     subgrid scales), and where T < 0 (given back)
    relative_rmse         √(⟨(p - Π)²⟩ / ⟨Π²⟩)
    spectrum_error        mean over k and layers of |S_p(k) - S(k)| / S(k); S(k) is the sum of
                          |Π̂| over the shell k - 1/2 < |k| ≤ k + 1/2, k = 1 … n/2 - 1 (modes
                          in the corners, |k| > n/2 - 1/2, are in no shell)
    exchange_error        |⟨ω̄ p⟩ - ⟨ω̄ Π⟩| / mean of |⟨ω̄ Π⟩| over all test snapshots: the net
                          enstrophy exchanged with the subgrid scales
"""

from __future__ import annotations

import numpy as np

from eddyscope.config.arrays import BoolArray, FloatArray, RealArray
from eddyscope.spectral.half_plane import to_modes, to_points, wavenumbers
from eddyscope.spectral.shells import sums_over_half_plane

__all__ = ["METRICS", "shell_spectrum", "snapshot_metrics"]

METRICS = {
    "mse": "mean squared error of the normalised subgrid term",
    "error": "mean squared error over mean square of the subgrid term",
    "correlation": "pattern correlation",
    "correlation_forward": "pattern correlation where enstrophy goes to the subgrid scales",
    "correlation_backscatter": "pattern correlation where enstrophy comes from the subgrid scales",
    "relative_rmse": "root mean squared error over root mean square",
    "spectrum_error": "mean relative error of the amplitude spectrum over shells",
    "exchange_error": "relative error of the net enstrophy exchanged with the subgrid scales",
}


def snapshot_metrics(
    predicted: RealArray,
    true: RealArray,
    omega: RealArray | None,
    pi_std: float | RealArray,
    spectral: bool = True,
) -> dict[str, FloatArray]:
    """Each of METRICS for each snapshot, (sample,); fields are (sample, [layer,] y, x).

    omega: None where the fields are no subgrid terms, or their vorticity is not known.
    pi_std: one number, or one a layer, (layer, 1, 1).
    spectral: whether the fields are periodic, on as many points along y as along x. Metrics that
    cannot be said are left out.
    """
    p, t = (np.asarray(field, dtype=np.float64) for field in (predicted, true))
    square, power = _mean((p - t) ** 2), _mean(t**2)
    found = {
        "mse": _mean(((p - t) / pi_std) ** 2),
        "error": square / np.mean(power),
        "correlation": _correlation(p, t, np.ones(t.shape, bool)),
        "relative_rmse": np.sqrt(square / power),
    }
    if spectral:
        found["spectrum_error"] = _spectrum_error(p, t)
    if omega is not None:
        w = np.asarray(omega, dtype=np.float64)
        exchanged = _mean(w * t)
        found["exchange_error"] = np.abs(_mean(w * p) - exchanged) / np.mean(np.abs(exchanged))
        if spectral:
            sense = t * _laplacian(w)
            found["correlation_forward"] = _correlation(p, t, sense > 0)
            found["correlation_backscatter"] = _correlation(p, t, sense < 0)
    return {name: found[name] for name in METRICS if name in found}


def shell_spectrum(fields: RealArray, power: int = 1) -> FloatArray:
    """Sum of |f̂|^power over shells k = 1 … n/2 - 1, f̂ = fft2(f)/n²; (…, y, x) -> (…, k).

    The corners beyond are left out, see `spectral/shells.py`.
    """
    return sums_over_half_plane(np.abs(to_modes(fields)) ** power)


def _mean(fields: FloatArray) -> FloatArray:
    """Mean over a snapshot's layers and points: (sample, …, y, x) -> (sample,)."""
    return np.asarray(np.mean(fields, axis=tuple(range(1, fields.ndim))))


def _correlation(p: FloatArray, t: FloatArray, where: BoolArray) -> FloatArray:
    """Correlation over the points `where`; 0 if a side does not vary there (nothing is told)."""
    points = tuple(range(1, where.ndim))
    count = np.maximum(where.sum(axis=points, keepdims=True), 1)

    def mean(field: FloatArray) -> FloatArray:
        return np.asarray(np.where(where, field, 0.0).sum(axis=points, keepdims=True) / count)

    dp, dt = p - mean(p), t - mean(t)
    scale = np.sqrt(mean(dp**2) * mean(dt**2)).ravel()
    product = mean(dp * dt).ravel()
    return np.asarray(np.divide(product, scale, out=np.zeros_like(scale), where=scale > 0))


def _spectrum_error(p: FloatArray, t: FloatArray) -> FloatArray:
    spectrum, wanted = shell_spectrum(p), shell_spectrum(t)
    # A sharp filter leaves empty shells: they say nothing about a relative error.
    filled = wanted > 1e-12 * wanted.max(axis=-1, keepdims=True)
    ratio = np.divide(np.abs(spectrum - wanted), wanted, out=np.zeros_like(wanted), where=filled)
    shells = tuple(range(1, filled.ndim))
    return np.asarray(ratio.sum(axis=shells) / np.maximum(filled.sum(axis=shells), 1))


def _laplacian(field: FloatArray) -> FloatArray:
    kx, ky = wavenumbers(field.shape[-1])
    return to_points(-(kx**2 + ky**2) * to_modes(field))
