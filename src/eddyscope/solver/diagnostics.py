"""Domain means, budgets and shell spectra of a flow's state."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.flows.base import Flow
from eddyscope.parallel.reduce import largest
from eddyscope.solver.budgets import QUANTITIES, budget_columns, sum_columns
from eddyscope.spectral.reductions import ModeSums
from eddyscope.spectral.transform import Transform

__all__ = ["Diagnostics"]


class Diagnostics:
    """Of each local member; the same bits on any number of ranks. All calls collective.

    With coefficients ω̂, k² = kx² + ky² and sums over all modes:
    E = Σ ½|ω̂|²/k², Z = Σ ½|ω̂|², P = Σ ½k²|ω̂|².
    """

    def __init__(self, flow: Flow):
        self.flow = flow
        transform = flow.transform
        self.sums = ModeSums(transform)
        shape = (1, 1, *transform.spectral_shape[2:])
        k2 = np.asarray(transform.kx**2 + transform.ky**2, dtype=np.float64)
        self.k2 = np.broadcast_to(k2, shape)
        self.inverse_k2 = np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0)
        self.loss = np.asarray(flow.damping + flow.drag, dtype=np.float64)
        self._weight = np.asarray(transform.weight, dtype=np.float64).ravel()
        self._f_hat = transform.zeros_spectral()
        members, _, here, _ = transform.spectral_shape
        self._columns = np.zeros((members, len(QUANTITIES), here))
        self._kicks = np.zeros((members, 2, here))

    @staticmethod
    def memory(transform: Transform) -> float:
        """Bytes at work in `spectra`, beside what is held: the square, the transfer, a density
        and its weighted copy, in float64."""
        return 4.3 * 8 * float(np.prod(transform.spectral_shape))

    def means(
        self, omega_hat: NDArray[Any], time: float, step: int, elapsed: float = 0.0
    ) -> dict[str, NDArray[Any]]:
        """Domain means and their sources and sinks, each of shape (member,).

        The input of a forcing that is white in time is its mean over `elapsed`, the time
        since the last call; its account is set to zero.
        """
        self._f_hat[...] = 0
        self.flow.add_forcing(self._f_hat, time, step, 1.0)
        k2, inverse, loss = self.k2[0, 0], self.inverse_k2[0, 0], self.loss[0, 0]
        for i, columns in enumerate(self._columns):
            budget_columns(
                omega_hat[i, 0], self._f_hat[i, 0], k2, inverse, loss, self._weight, columns
            )
        kicks = self.flow.kick_work
        if kicks is not None and elapsed > 0:
            for i, columns in enumerate(self._kicks):
                sum_columns(kicks[i, 0], inverse, self._weight, columns)
            self._columns[:, 3:5] += self._kicks / elapsed
            kicks[...] = 0
        totals = self.sums.of_columns(self._columns)
        return {name: totals[:, q] for q, name in enumerate(QUANTITIES)}

    def energy_density(self, omega_hat: NDArray[Any]) -> NDArray[np.float64]:
        """½|ω̂|²/k² of each coefficient, for sums over modes or shells. Not collective."""
        return 0.5 * _square(omega_hat) * self.inverse_k2

    def spectra(
        self, omega_hat: NDArray[Any], advection_hat: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """E(k), Z(k) and the fluxes through k, each of shape (member, shell).

        The flux of energy through k is the sum of the transfer out of the modes below it,
        Σ_{k' ≤ k} Re(ψ̂* Ĵ); that of enstrophy has ω̂ in place of ψ̂.
        """
        square = _square(omega_hat)
        transfer = (np.conj(omega_hat) * advection_hat).real.astype(np.float64)
        shells, inverse = self.sums.shells, self.inverse_k2
        return {
            "energy": shells(0.5 * square * inverse),
            "enstrophy": shells(0.5 * square),
            "energy_flux": np.cumsum(shells(transfer * inverse), axis=1),
            "enstrophy_flux": np.cumsum(shells(transfer), axis=1),
        }

    def max_velocity(self) -> NDArray[np.float64]:
        """max(|u| + |v|) of each local member, of the state last given to `flow.advection`."""
        return largest(self.sums.comm, self.flow.max_velocity())


def _square(omega_hat: NDArray[Any]) -> NDArray[np.float64]:
    squared: NDArray[Any] = omega_hat.real**2 + omega_hat.imag**2
    return squared.astype(np.float64)
