"""The Laplacian of real fields on the points of a periodic rectangle, of any sides and numbers of
points. The solver's own grids are square: `spectral/half_plane.py`."""

from __future__ import annotations

import numpy as np

from eddyscope.config.arrays import FloatArray, RealArray

__all__ = ["minus_inverse_laplacian", "minus_laplacian"]

Length = tuple[float, float]
"""(Ly, Lx)."""


def minus_laplacian(field: RealArray, length: Length) -> FloatArray:
    """−∇² of fields (…, y, x): ω of ψ. Nyquist modes carry nothing."""
    return _times(field, _wavenumbers_squared(field.shape[-2:], length))


def minus_inverse_laplacian(field: RealArray, length: Length) -> FloatArray:
    """The inverse: ψ of ω, without a mean. Nyquist modes carry nothing."""
    k2 = _wavenumbers_squared(field.shape[-2:], length)
    return _times(field, np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0.0))


def _times(field: RealArray, factor: FloatArray) -> FloatArray:
    modes = np.fft.rfft2(field.astype(np.float64)) * factor
    points: FloatArray = np.fft.irfft2(modes, s=field.shape[-2:])
    return points


def _wavenumbers_squared(shape: tuple[int, ...], length: Length) -> FloatArray:
    """k² of the half plane, (ky, kx); 0 at the Nyquist modes, where there are any."""
    ny, nx = shape
    y, x = np.abs(np.fft.fftfreq(ny, 1.0 / ny)), np.arange(nx // 2 + 1.0)
    ky, kx = y * (2.0 * np.pi / length[0]), x * (2.0 * np.pi / length[1])
    k2: FloatArray = ky[:, None] ** 2 + kx[None, :] ** 2
    k2[2.0 * y == ny] = 0.0
    k2[:, 2.0 * x == nx] = 0.0
    return k2
