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
    energy_transfer_error,      |⟨ψ̄ p⟩ - ⟨ψ̄ Π⟩| / mean of |⟨ψ̄ Π⟩| over all test snapshots, and
    enstrophy_transfer_error    with ω̄: of P_E = -⟨ψ̄ Π⟩ and P_Z = -⟨ω̄ Π⟩, the net energy and
                                enstrophy that the resolved scales lose to the subgrid scales
    energy_transfer_spectrum_error,     Σ |T_p(k) - T(k)| / Σ |T(k)|, sums over k and layers;
    enstrophy_transfer_spectrum_error   T_E(k) is the sum of -Re(conj(ψ̄̂) Π̂) over shell k, T_Z(k)
                                        with ω̄. T changes its sign, so a mean of relative errors
                                        shell by shell would mean nothing
    tail_ratio            share of points where |p - μ| > 3σ, over the mean share where
                          |Π - μ| > 3σ in the member's snapshots
    quantile_ratio        the 0.99 quantile of |p - μ|/σ, over the mean of that of |Π - μ|/σ in
                          the member's snapshots
μ and σ are the mean and the standard deviation of Π in all snapshots of the test member, layer
by layer. Of the two ratios 1 is perfect, of correlations too; of errors 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eddyscope.config.arrays import BoolArray, FloatArray, IntArray, RealArray
from eddyscope.spectral.half_plane import to_modes, to_points, wavenumbers
from eddyscope.spectral.shells import sums_over_half_plane

__all__ = ["METRICS", "shell_spectrum", "snapshot_metrics"]

METRICS = {
    "mse": "mean of (p − Π)² over σ², σ the standard deviation of Π in the model's own "
    "normalisation: the loss of training; compare models of one normalisation alone",
    "error": "mean of (p − Π)² over the mean of Π² in all test snapshots",
    "correlation": "pattern correlation of p and Π, each less its mean",
    "correlation_forward": "the same at points where Π ∇²ω̄ > 0: enstrophy goes to the subgrid "
    "scales",
    "correlation_backscatter": "the same at points where Π ∇²ω̄ < 0: enstrophy comes from the "
    "subgrid scales",
    "relative_rmse": "root of the mean of (p − Π)² over the root of the mean of Π²",
    "spectrum_error": "mean over shells k of |S_p(k) − S(k)| / S(k), S(k) the sum of |Π̂| over "
    "the shell",
    "energy_transfer_error": "|⟨ψ̄ p⟩ − ⟨ψ̄ Π⟩| over the mean of |⟨ψ̄ Π⟩| in all test snapshots; "
    "−⟨ψ̄ Π⟩ is the energy lost to the subgrid scales",
    "enstrophy_transfer_error": "|⟨ω̄ p⟩ − ⟨ω̄ Π⟩| over the mean of |⟨ω̄ Π⟩| in all test "
    "snapshots; −⟨ω̄ Π⟩ is the enstrophy lost to the subgrid scales",
    "energy_transfer_spectrum_error": "sum over shells of |T_p(k) − T(k)| over the sum of "
    "|T(k)|, T(k) the sum of −Re(ψ̄_k* Π_k) over the modes of the shell",
    "enstrophy_transfer_spectrum_error": "the same with T(k) the sum of −Re(ω̄_k* Π_k)",
    "tail_ratio": "share of points where |p − μ| > 3σ over that where |Π − μ| > 3σ, μ and σ "
    "mean and standard deviation of Π in the test run; 1 is perfect",
    "quantile_ratio": "0.99 quantile of |p − μ|/σ over that of |Π − μ|/σ, means over the "
    "snapshots of the test run; 1 is perfect",
}
"""Metric -> what it is, in one line; p is the prediction, Π the truth."""

TAIL, QUANTILE = 3.0, 0.99
"""Deviations beyond which a point is in the tail, and the quantile: see METRICS."""


def snapshot_metrics(
    predicted: RealArray,
    true: RealArray,
    pi_std: float | RealArray,
    *,
    omega: RealArray | None = None,
    psi: RealArray | None = None,
    spectral: bool = True,
    members: Sequence[int] | None = None,
) -> dict[str, FloatArray]:
    """Each of METRICS for each snapshot, (sample,); fields are (sample, [layer,] y, x).

    pi_std: one number, or one a layer, (layer, 1, 1).
    omega, psi: None where the fields are no subgrid terms, or theirs are not known.
    spectral: whether the fields are periodic, on as many points along y as along x.
    members: the test member that each snapshot is of; by default all are of one.
    Metrics that cannot be said are left out.
    """
    p, t = (np.asarray(field, dtype=np.float64) for field in (predicted, true))
    square, power = _mean((p - t) ** 2), _mean(t**2)
    found = {
        "mse": _mean(((p - t) / pi_std) ** 2),
        "error": square / np.mean(power),
        "correlation": _correlation(p, t, np.ones(t.shape, bool)),
        "relative_rmse": np.sqrt(square / power),
        **_tails(p, t, np.zeros(len(t), int) if members is None else np.asarray(members)),
    }
    if spectral:
        found["spectrum_error"] = _spectrum_error(p, t)
    for name, weight in (("energy", psi), ("enstrophy", omega)):
        if weight is not None:
            w = np.asarray(weight, dtype=np.float64)
            lost = _mean(w * t)
            found[f"{name}_transfer_error"] = np.abs(_mean(w * p) - lost) / np.mean(np.abs(lost))
            if spectral:
                found[f"{name}_transfer_spectrum_error"] = _transfer_spectrum_error(p, t, w)
    if omega is not None and spectral:
        sense = t * _laplacian(np.asarray(omega, dtype=np.float64))
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


def _transfer_spectrum_error(p: FloatArray, t: FloatArray, weight: FloatArray) -> FloatArray:
    of_weight = to_modes(weight).conj()
    wrong, wanted = (sums_over_half_plane((of_weight * to_modes(f)).real) for f in (p - t, t))
    shells = tuple(range(1, wrong.ndim))
    return np.asarray(np.abs(wrong).sum(axis=shells) / np.abs(wanted).sum(axis=shells))


def _tails(p: FloatArray, t: FloatArray, members: IntArray) -> dict[str, FloatArray]:
    """`tail_ratio` and `quantile_ratio`; each is left out where the truth of a member has none."""
    found: dict[str, FloatArray] = {}
    of_p, of_t = np.empty_like(p), np.empty_like(t)
    for mine in (members == member for member in np.unique(members)):
        mean, std = (f(t[mine], axis=(0, -2, -1), keepdims=True) for f in (np.mean, np.std))
        for size, field in ((of_p, p), (of_t, t)):
            size[mine] = np.abs(field[mine] - mean) / np.where(std > 0, std, 1.0)
    for name, tell in (("tail_ratio", _beyond), ("quantile_ratio", _quantile)):
        predicted, true = tell(of_p), tell(of_t)
        of_member = np.array([np.mean(true[members == member]) for member in members])
        if np.all(of_member > 0):
            found[name] = predicted / of_member
    return found


def _beyond(size: FloatArray) -> FloatArray:
    return _mean((size > TAIL).astype(np.float64))


def _quantile(size: FloatArray) -> FloatArray:
    return np.asarray(np.quantile(size.reshape(len(size), -1), QUANTILE, axis=1))


def _laplacian(field: FloatArray) -> FloatArray:
    kx, ky = wavenumbers(field.shape[-1])
    return to_points(-(kx**2 + ky**2) * to_modes(field))
