"""Closures that see fields on the grid's points, joined to the spectral solver."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eddyscope.config.arrays import ComplexArray
from eddyscope.spectral.half_plane import inverse_laplacian, kept_modes, to_points
from eddyscope.spectral.transform import Transform

__all__ = ["OnPoints", "PointModel"]


class PointModel(Protocol):
    """Π of ψ and ω on the points of the grid, axes (member, y, x)."""

    def pi(self, psi: NDArray[Any], omega: NDArray[Any]) -> NDArray[np.float64]: ...


class OnPoints:
    """A solver closure from a model on n × n points. Members stay whole: no y-pencils."""

    def __init__(self, model: PointModel, transform: Transform):
        if transform.mesh.shape[1] != 1:
            raise ValueError("a closure on points needs whole members on each rank")
        if transform.layers != 1:
            raise ValueError("a closure on points works on flows of one layer")
        self.model = model
        self.transform = transform
        n = transform.grid.n
        self._inverse_k2 = inverse_laplacian(n)
        self._pi_hat = transform.zeros_spectral()

    def pi_hat(self, omega_hat: NDArray[Any]) -> NDArray[Any]:
        n = self.transform.grid.n
        whole: ComplexArray = np.concatenate(list(self.transform.gather(omega_hat, n).values()))
        psi, omega = to_points(whole * self._inverse_k2), to_points(whole)
        for i, pi in enumerate(self.model.pi(psi, omega)):
            self._pi_hat[i, 0] = self.transform.take(kept_modes(pi))
        return self._pi_hat
