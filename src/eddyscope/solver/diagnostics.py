"""Domain means, budgets and shell spectra of a flow's state."""

from __future__ import annotations

import numpy as np

from eddyscope.config.arrays import ComplexArray, FloatArray
from eddyscope.flows.base import Flow
from eddyscope.parallel.reduce import largest
from eddyscope.spectral.reductions import add_slices, exact_sums, slice_grids

__all__ = ["Diagnostics"]

SHELL_SLICES = 2
"""Parts of a column's sum over a shell, which is itself rounded: two are more than it has."""


class Diagnostics:
    """Of each local member; the same bits on any number of ranks. All calls collective.

    Sums are over all modes and layers. With the flow's M and δ (`Flow.energy_weights`,
    `Flow.layer_weights`): E = Σ ½ ω̂_l* M_ll' ω̂_l', Z = Σ ½ δ_l |ω̂_l|², P = Σ ½ δ_l k² |ω̂_l|²; for
    Navier–Stokes E = Σ ½ |ω̂|²/k². None of them changes the state, or the flow's account of kicks.
    """

    def __init__(self, flow: Flow):
        from eddyscope.solver import budgets

        self._sums = budgets
        self.flow = flow
        transform = flow.transform
        self._comm = transform.mesh.pencil_comm
        self._n_columns = transform.spectral_total[2]
        members, layers, here, n = transform.spectral_shape
        kx, ky = transform.kx.astype(np.float64), transform.ky.astype(np.float64)
        self._k2 = np.asarray(kx**2 + ky**2)[0, 0]
        weights = flow.energy_weights(self._k2)
        self._pairs = np.array(list(weights), dtype=np.int64).reshape(-1, 2)
        self._energy_weights = np.stack(list(weights.values()))
        self._layer_weights = np.array(flow.layer_weights)
        loss = np.asarray(flow.damping + flow.drag, dtype=np.float64)
        self._loss = np.broadcast_to(loss[0], (layers, here, n))
        self._kx = kx.ravel()
        self._weight = np.asarray(transform.weight, dtype=np.float64).ravel()
        self._f_hat = transform.zeros_spectral()
        self._columns = np.zeros((members, len(budgets.QUANTITIES), here))
        self._kicks = np.zeros((members, 2, here))

    def means(
        self, omega_hat: ComplexArray, time: float, step: int, elapsed: float = 0.0
    ) -> dict[str, FloatArray]:
        """Domain means and their sources and sinks, each of shape (member,).

        The input of a forcing that is white in time is its mean over `elapsed`, the time since
        which the flow's `kick_work` counts.
        """
        self._f_hat[...] = 0
        self.flow.add_forcing(self._f_hat, time, step, 1.0)
        self._columns[...] = 0
        to_host = self.flow.transform.to_host
        state, f_hat = to_host(omega_hat), to_host(self._f_hat)
        for i, columns in enumerate(self._columns):
            self._add_budgets(state[i], f_hat[i], columns)
        kicks = self.flow.kick_work
        if kicks is not None and elapsed > 0:
            self._add_kicks(to_host(kicks), elapsed)
        totals = exact_sums(self._columns, self._n_columns, self._comm)
        return {name: totals[:, q] for q, name in enumerate(self._sums.QUANTITIES)}

    def _add_budgets(
        self, omega_hat: ComplexArray, f_hat: ComplexArray, columns: FloatArray
    ) -> None:
        """Of one member, fields (layer, kx, ky): its QUANTITIES, by column."""
        for (one, other), weights in zip(self._pairs, self._energy_weights, strict=True):
            of_layer = self._layer_weights[one] if one == other else 0.0
            fields = omega_hat[one], omega_hat[other], f_hat[other]
            rates = self._k2, weights, self._loss[other]
            self._sums.add_budget_columns(*fields, *rates, self._weight, of_layer, columns)

    def _add_kicks(self, kicks: FloatArray, elapsed: float) -> None:
        """The mean input of energy and enstrophy by kicks over `elapsed`."""
        self._kicks[...] = 0
        for (one, other), weights in zip(self._pairs, self._energy_weights, strict=True):
            for i, columns in enumerate(self._kicks if one == other else []):
                of_layer = self._layer_weights[one]
                self._sums.add_sum_columns(kicks[i, one], weights, self._weight, of_layer, columns)
        self._columns[:, 3:5] += self._kicks / elapsed

    def spectra(
        self, omega_hat: ComplexArray, advection_hat: ComplexArray
    ) -> dict[str, FloatArray]:
        """E(k), Z(k) and the fluxes through k, each of shape (member, shell), shells
        k = 1 … n/2 - 1 (see `spectral/shells.py`): ΣE(k) lacks the energy of the corners beyond.

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

    def energy_spectrum(self, omega_hat: ComplexArray) -> FloatArray:
        """E(k), the "energy" of `spectra`, shape (member, shell)."""
        energy: FloatArray = 0.5 * self._shells(omega_hat, omega_hat)[0]
        return energy

    def _shells(self, omega_hat: ComplexArray, advection_hat: ComplexArray) -> FloatArray:
        """Sums over shells k = 1 … n/2 - 1 and layers of ω̂_l* M_ll' ω̂_l', δ_l |ω̂_l|²,
        ω̂_l* M_ll' Ĵ_l' and δ_l ω̂_l* Ĵ_l, shape (4, member, shell).

        Each column's own sums are rounded, as plain sums are; the columns' are exact.
        """
        weights = self._weight, self._pairs, self._energy_weights, self._layer_weights
        state, advection = map(self.flow.transform.to_host, (omega_hat, advection_hat))
        largest = np.zeros((len(omega_hat), self.flow.transform.grid.n_shells, 4))
        self._sums.shell_maxima(state, advection, self._kx, *weights, largest)
        grids = slice_grids(largest, self._n_columns, SHELL_SLICES, self._comm)
        slices = np.zeros_like(grids)
        self._sums.shell_slices(state, advection, self._kx, *weights, grids, slices)
        return np.moveaxis(add_slices(slices, self._comm), -1, 0)

    def max_velocity(self) -> FloatArray:
        """max(|u| + |v|) of each local member, of the state last given to `flow.advection`."""
        return largest(self._comm, self.flow.max_velocity())
