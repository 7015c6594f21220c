"""Closures that see fields on the grid's points, joined to the spectral solver."""

from __future__ import annotations

from collections.abc import Callable

from eddyscope.config.arrays import AnyArray, ComplexArray
from eddyscope.flows.base import Flow

__all__ = ["OnPoints", "PiOnPoints"]

PiOnPoints = Callable[[AnyArray, AnyArray], AnyArray]
"""Π of ψ and ω on n × n points, all (member, layer, y, x)."""


class OnPoints:
    """A solver's closure from Π on points. Members stay whole: no y-pencils."""

    def __init__(self, pi: PiOnPoints, flow: Flow, takes_host_arrays: bool = True):
        """takes_host_arrays: whether `pi` takes and gives numpy's arrays, wherever the flow's
        fields are; else it takes and gives arrays of the flow's transform."""
        if flow.transform.mesh.shape[1] != 1:
            raise ValueError("a closure on points needs whole members on each rank")
        self.flow = flow
        self._pi = pi
        self._takes_host_arrays = takes_host_arrays
        self._psi_hat = flow.transform.zeros_spectral()
        self._pi_hat = flow.transform.zeros_spectral()

    def pi_hat(self, omega_hat: ComplexArray) -> ComplexArray:
        """Π without mean and Nyquist modes. Collective over the pencils."""
        psi_hat = self.flow.streamfunction(omega_hat, self._psi_hat)
        transform = self.flow.transform
        psi, omega = transform.to_own_points(psi_hat), transform.to_own_points(omega_hat)
        if self._takes_host_arrays:
            pi = transform.from_host(self._pi(transform.to_host(psi), transform.to_host(omega)))
        else:
            pi = self._pi(psi, omega)
        self._pi_hat[...] = transform.from_own_points(pi)
        return self._pi_hat
