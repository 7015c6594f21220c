"""Closures that see fields on the grid's points, joined to the spectral solver."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eddyscope.spectral.transform import Transform

__all__ = ["OnPoints", "PointModel", "to_modes", "to_points"]


class PointModel(Protocol):
    """Π of ψ and ω on the points of the grid, axes (member, y, x)."""

    def pi(self, psi: NDArray[Any], omega: NDArray[Any]) -> NDArray[np.float64]: ...


class OnPoints:
    """A solver closure from a model on n × n points. Members stay whole: no y-pencils."""

    def __init__(self, model: PointModel, transform: Transform):
        if transform.mesh.shape[1] != 1:
            raise ValueError("a closure on points needs whole members on each rank")
        self.model = model
        self.transform = transform
        n = transform.grid.n
        ky = np.fft.fftfreq(n, 1.0 / n)[:, None]
        k2 = ky**2 + np.arange(n // 2 + 1)[None, :] ** 2
        self._inverse_k2 = np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0)
        self._pi_hat = transform.zeros_spectral()

    def pi_hat(self, omega_hat: NDArray[Any]) -> NDArray[Any]:
        n = self.transform.grid.n
        whole = np.stack(list(self.transform.gather(omega_hat, n).values()))
        psi, omega = to_points(whole * self._inverse_k2), to_points(whole)
        for i, pi in enumerate(self.model.pi(psi, omega)):
            self._pi_hat[i, 0] = self.transform.take(to_modes(pi))
        return self._pi_hat


def to_points(coefficients: NDArray[Any]) -> NDArray[np.float64]:
    """Fields (…, y, x) on n × n points from coefficients (…, ky, kx) on the half plane."""
    n = coefficients.shape[-2]
    points: NDArray[np.float64] = np.fft.irfft2(coefficients, s=(n, n), norm="forward")
    return points


def to_modes(field: NDArray[Any]) -> NDArray[np.complex128]:
    """The inverse of `to_points`, without mean and Nyquist modes, which Π and ω do not have."""
    coefficients: NDArray[np.complex128] = np.fft.rfft2(field, norm="forward")
    half = field.shape[-1] // 2
    coefficients[..., half, :] = 0
    coefficients[..., :, half] = 0
    coefficients[..., 0, 0] = 0
    return coefficients
