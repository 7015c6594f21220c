"""Closures that see fields on the grid's points, joined to the spectral solver."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eddyscope.config.arrays import ComplexArray, FloatArray
from eddyscope.flows.base import Flow
from eddyscope.spectral.half_plane import kept_modes, to_points

__all__ = ["OnPoints", "PiOnPoints"]

PiOnPoints = Callable[[FloatArray, FloatArray], FloatArray]
"""Π of ψ and ω on n × n points, all (member, layer, y, x)."""


class OnPoints:
    """A solver's closure from Π on points. Members stay whole: no y-pencils."""

    def __init__(self, pi: PiOnPoints, flow: Flow):
        if flow.transform.mesh.shape[1] != 1:
            raise ValueError("a closure on points needs whole members on each rank")
        self.flow = flow
        self._pi = pi
        self._psi_hat = flow.transform.zeros_spectral()
        self._pi_hat = flow.transform.zeros_spectral()

    def pi_hat(self, omega_hat: ComplexArray) -> ComplexArray:
        """Π without mean and Nyquist modes. Collective over the pencils."""
        psi_hat = self.flow.streamfunction(omega_hat, self._psi_hat)
        pi = self._pi(self._points(psi_hat), self._points(omega_hat))
        self._pi_hat[...] = self.flow.transform.take(kept_modes(pi))
        return self._pi_hat

    def _points(self, field_hat: ComplexArray) -> FloatArray:
        transform = self.flow.transform
        return to_points(np.stack(list(transform.gather(field_hat, transform.grid.n).values())))
