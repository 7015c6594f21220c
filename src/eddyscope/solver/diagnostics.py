"""Domain means, budgets and shell spectra of a flow's state."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.flows.base import Flow
from eddyscope.parallel.reduce import largest
from eddyscope.solver.budgets import (
    QUANTITIES,
    budget_columns,
    shell_maxima,
    shell_slices,
    sum_columns,
)
from eddyscope.spectral.reductions import add_slices, exact_sums, slice_grids
from eddyscope.spectral.transform import Transform

__all__ = ["Diagnostics"]

SHELL_SLICES = 2
"""Parts of a column's sum over a shell, which is itself rounded: two are more than it has."""


class Diagnostics:
    """Of each local member; the same bits on any number of ranks. All calls collective.

    With coefficients ω̂, k² = kx² + ky² and sums over all modes:
    E = Σ ½|ω̂|²/k², Z = Σ ½|ω̂|², P = Σ ½k²|ω̂|².
    """

    def __init__(self, flow: Flow):
        self.flow = flow
        transform = flow.transform
        self._comm = transform.mesh.pencil_comm
        self._n_columns = transform.spectral_total[2]
        shape = (1, 1, *transform.spectral_shape[2:])
        k2 = np.asarray(transform.kx**2 + transform.ky**2, dtype=np.float64)
        self.k2 = np.broadcast_to(k2, shape)
        self.inverse_k2 = np.divide(1.0, k2, out=np.zeros_like(k2), where=k2 > 0)
        self.loss = np.asarray(flow.damping + flow.drag, dtype=np.float64)
        self._kx = np.asarray(transform.kx, dtype=np.float64).ravel()
        self._weight = np.asarray(transform.weight, dtype=np.float64).ravel()
        self._f_hat = transform.zeros_spectral()
        members, _, here, _ = transform.spectral_shape
        self._columns = np.zeros((members, len(QUANTITIES), here))
        self._kicks = np.zeros((members, 2, here))

    @staticmethod
    def memory(transform: Transform) -> float:
        """Bytes at work in `spectra`, beside what is held: sums over shells, never a field."""
        members, shells = transform.spectral_shape[0], transform.grid.n_shells
        return 8.0 * 4 * members * shells * (1 + 5 * SHELL_SLICES)

    def means(
        self, omega_hat: NDArray[Any], time: float, step: int, elapsed: float = 0.0
    ) -> dict[str, NDArray[Any]]:
        """Domain means and their sources and sinks, each of shape (member,).

        The input of a forcing that is white in time is its mean over `elapsed`, the time since
        the flow's `kick_work` was last set to zero.
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
        totals = exact_sums(self._columns, self._n_columns, self._comm)
        return {name: totals[:, q] for q, name in enumerate(QUANTITIES)}

    def spectra(
        self, omega_hat: NDArray[Any], advection_hat: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """E(k), Z(k) and the fluxes through k, each of shape (member, shell).

        The flux of energy through k is the sum of the transfer out of the modes below it,
        Σ_{k' ≤ k} Re(ψ̂* Ĵ); that of enstrophy has ω̂ in place of ψ̂.
        """
        energy, enstrophy, energy_transfer, enstrophy_transfer = self._shells(
            omega_hat, advection_hat
        )
        return {
            "energy": 0.5 * energy,
            "enstrophy": 0.5 * enstrophy,
            "energy_flux": np.cumsum(energy_transfer, axis=1),
            "enstrophy_flux": np.cumsum(enstrophy_transfer, axis=1),
        }

    def energy_spectrum(self, omega_hat: NDArray[Any]) -> NDArray[np.float64]:
        """E(k), the "energy" of `spectra`, shape (member, shell)."""
        energy: NDArray[np.float64] = 0.5 * self._shells(omega_hat, omega_hat)[0]
        return energy

    def _shells(self, omega_hat: NDArray[Any], advection_hat: NDArray[Any]) -> NDArray[np.float64]:
        """Sums over shells k = 1 … n/2 - 1 of |ω̂|²/k², |ω̂|², Re(ω̂* Ĵ)/k² and Re(ω̂* Ĵ),
        shape (4, member, shell).

        Each column's own sums are rounded, as plain sums are; the columns' are exact.
        """
        kx, weight = self._kx, self._weight
        largest = np.zeros((len(omega_hat), self.flow.transform.grid.n_shells, 4))
        shell_maxima(omega_hat, advection_hat, kx, weight, largest)
        grids = slice_grids(largest, self._n_columns, SHELL_SLICES, self._comm)
        slices = np.zeros_like(grids)
        shell_slices(omega_hat, advection_hat, kx, weight, grids, slices)
        return np.moveaxis(add_slices(slices, self._comm), -1, 0)

    def max_velocity(self) -> NDArray[np.float64]:
        """max(|u| + |v|) of each local member, of the state last given to `flow.advection`."""
        return largest(self._comm, self.flow.max_velocity())
