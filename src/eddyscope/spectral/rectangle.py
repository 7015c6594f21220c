"""ψ and ω of one another on the points of a periodic rectangle, of any sides and numbers of points.
The solver's own grids are square: `spectral/half_plane.py`. Mean and Nyquist modes carry nothing.
"""

from __future__ import annotations

import numpy as np

from eddyscope.config.arrays import FloatArray, RealArray

__all__ = ["derivative", "energy_product", "minus_inverse_laplacian", "minus_laplacian"]

Length = tuple[float, float]
"""(Ly, Lx)."""


def minus_laplacian(psi: RealArray, length: Length) -> FloatArray:
    """ω = −∇²ψ of fields (…, y, x)."""
    return _times(psi, _wavenumbers_squared(psi.shape[-2:], length))


def minus_inverse_laplacian(omega: RealArray, length: Length) -> FloatArray:
    """ψ of ω = −∇²ψ, fields (…, y, x)."""
    k2 = _wavenumbers_squared(omega.shape[-2:], length)
    return _times(omega, np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0.0))


def derivative(field: RealArray, orders: tuple[int, int], length: Length) -> FloatArray:
    """∂^(a + b)/∂y^a ∂x^b of fields (…, y, x), for orders (a, b) that are not both 0."""
    ny, nx = field.shape[-2:]
    ky = np.fft.fftfreq(ny, 1.0 / ny) * (2.0 * np.pi / length[0])
    kx = np.arange(nx // 2 + 1.0) * (2.0 * np.pi / length[1])
    kept = _wavenumbers_squared((ny, nx), length) > 0.0
    factor = (1j * ky[:, None]) ** orders[0] * (1j * kx[None, :]) ** orders[1] * kept
    modes = np.fft.rfft2(field.astype(np.float64)) * factor
    points: FloatArray = np.fft.irfft2(modes, s=field.shape[-2:])
    return points


def energy_product(one: RealArray, other: RealArray, length: Length) -> float:
    """Mean of ∇ψ·∇ψ' of two fields (y, x): of one and the same, twice its kinetic energy."""
    gradients = minus_laplacian(other, length)
    return float(np.mean(one * gradients))


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
