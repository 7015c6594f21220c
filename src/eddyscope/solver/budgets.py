"""Compiled sums of the energy and enstrophy budgets over each column of ky."""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["QUANTITIES", "budget_columns", "sum_columns"]

QUANTITIES = (
    "energy",
    "enstrophy",
    "palinstrophy",
    "energy_input",
    "enstrophy_input",
    "energy_dissipation",
    "enstrophy_dissipation",
)


@njit(cache=True)
def budget_columns(
    omega_hat: Any, f_hat: Any, k2: Any, inverse_k2: Any, loss: Any, weight: Any, out: Any
) -> None:
    """out[quantity, kx] <- the sums of QUANTITIES over ky, weight[kx] times; one member."""
    for i in range(omega_hat.shape[0]):
        energy = enstrophy = palinstrophy = lost_energy = lost_enstrophy = 0.0
        energy_input = enstrophy_input = 0.0
        for j in range(omega_hat.shape[1]):
            w, f = omega_hat[i, j], f_hat[i, j]
            square = float(w.real) * w.real + float(w.imag) * w.imag
            work = -(float(w.real) * f.real + float(w.imag) * f.imag)
            inverse = inverse_k2[i, j]
            energy += 0.5 * square * inverse
            enstrophy += 0.5 * square
            palinstrophy += 0.5 * square * k2[i, j]
            energy_input += work * inverse
            enstrophy_input += work
            lost_energy += loss[i, j] * square * inverse
            lost_enstrophy += loss[i, j] * square
        out[0, i] = weight[i] * energy
        out[1, i] = weight[i] * enstrophy
        out[2, i] = weight[i] * palinstrophy
        out[3, i] = weight[i] * energy_input
        out[4, i] = weight[i] * enstrophy_input
        out[5, i] = weight[i] * lost_energy
        out[6, i] = weight[i] * lost_enstrophy


@njit(cache=True)
def sum_columns(values: Any, inverse_k2: Any, weight: Any, out: Any) -> None:
    """out[0, kx] <- sums of values/k² over ky, out[1, kx] <- sums of values; one member."""
    for i in range(values.shape[0]):
        energy = enstrophy = 0.0
        for j in range(values.shape[1]):
            energy += values[i, j] * inverse_k2[i, j]
            enstrophy += values[i, j]
        out[0, i] = weight[i] * energy
        out[1, i] = weight[i] * enstrophy
