"""Real fields on n × n points, and their Fourier coefficients on the half plane.

Points have axes (…, y, x), shape (…, n, n), n even. Coefficients have axes (…, ky, kx), shape
(…, n, n/2 + 1): ky in the order of numpy's fftfreq, kx = 0 … n/2; those of kx < 0 are the
conjugates of what is stored. Forward is normalised, so that coefficients do not depend on n.
"""

from __future__ import annotations

import numpy as np

from eddyscope.config.arrays import AnyArray, ComplexArray, FloatArray

__all__ = [
    "from_columns",
    "interpolated",
    "kept_modes",
    "modulus",
    "to_modes",
    "to_points",
    "wavenumbers",
    "weights",
    "without_nyquist",
]


def wavenumbers(n: int) -> tuple[FloatArray, FloatArray]:
    """(kx, ky) of shapes (1, n/2 + 1) and (n, 1)."""
    ky = np.fft.fftfreq(n, 1.0 / n).astype(np.float64)
    kx = np.arange(n // 2 + 1, dtype=np.float64)
    return kx[None, :], ky[:, None]


def modulus(n: int) -> FloatArray:
    """|k|, shape (n, n/2 + 1)."""
    kx, ky = wavenumbers(n)
    k: FloatArray = np.hypot(ky, kx)
    return k


def weights(n: int) -> FloatArray:
    """How many modes of the full plane each coefficient stands for, by kx; shape (n/2 + 1,).

    Those with 0 < kx < n/2 stand for their conjugates too.
    """
    weight = np.full(n // 2 + 1, 2.0)
    weight[0] = weight[-1] = 1.0
    return weight


def to_points(coefficients: ComplexArray) -> FloatArray:
    """The fields on their n × n points."""
    n = coefficients.shape[-2]
    points: FloatArray = np.fft.irfft2(coefficients, s=(n, n), norm="forward")
    return points


def to_modes(field: AnyArray) -> ComplexArray:
    """The inverse of `to_points`, Nyquist modes and all."""
    coefficients: ComplexArray = np.fft.rfft2(field, norm="forward")
    return coefficients


def without_nyquist(coefficients: ComplexArray) -> ComplexArray:
    """Set the mean and the Nyquist modes to zero, in place: no vorticity has a mean, and Nyquist
    modes carry nothing here."""
    half = coefficients.shape[-2] // 2
    coefficients[..., half, :] = 0
    coefficients[..., :, half] = 0
    coefficients[..., 0, 0] = 0
    return coefficients


def kept_modes(field: AnyArray) -> ComplexArray:
    """`to_modes` of fields, without mean and Nyquist modes."""
    return without_nyquist(to_modes(field))


def interpolated(coefficients: ComplexArray, n: int) -> ComplexArray:
    """The modes that both grids have, on the half plane of n modes, the others zero: exact
    where the field is resolved. Without mean and Nyquist modes."""
    half = min(n, coefficients.shape[-2]) // 2
    result = np.zeros((*coefficients.shape[:-2], n, n // 2 + 1), dtype=complex)
    rows = np.arange(1 - half, half)
    result[..., rows, :half] = coefficients[..., rows, :half]
    result[..., 0, 0] = 0
    return result


def from_columns(columns: ComplexArray) -> ComplexArray:
    """Coefficients as the solver has them, axes (…, kx, ky) with kx = 0 … n/2 - 1, on the half
    plane; the Nyquist modes are zero."""
    *fields, half, n = columns.shape
    plane = np.zeros((*fields, n, half + 1), columns.dtype)
    plane[..., :half] = np.swapaxes(columns, -1, -2)
    return plane
