"""Compiled sums of energy and enstrophy, and of what changes them, over columns of ky.

No rank holds part of a column, so a column's sums have one order on any number of ranks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["QUANTITIES", "budget_columns", "shell_maxima", "shell_slices", "sum_columns"]

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
def _product(a: Any, b: Any) -> Any:
    """Re(a* b) in float64, also of float32, of which numba's `float` would make float32."""
    return np.float64(a.real) * np.float64(b.real) + np.float64(a.imag) * np.float64(b.imag)


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
            square, work = _product(w, w), -_product(w, f)
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


@njit(cache=True)
def _column_shells(omega_hat: Any, advection_hat: Any, kx: int, out: Any) -> None:
    """out[k - 1, :] <- of one column, the sums over shell k - 1/2 < |k| <= k + 1/2 of |ω̂|²/k²,
    |ω̂|², Re(ω̂* Ĵ)/k² and Re(ω̂* Ĵ), for k from max(kx, 1); what is before is left as it is.

    In whole numbers, shell k ends at kx² + ky² = k (k + 1), and one step of ky never passes
    more than one end.
    """
    n, shells = omega_hat.shape[0], out.shape[0]
    k, k2, end = kx, kx * kx, kx * (kx + 1)
    out[max(kx, 1) - 1 :] = 0.0
    if kx > 0:
        w, a = omega_hat[0], advection_hat[0]
        square, transfer = _product(w, w), _product(w, a)
        inverse = 1.0 / k2
        out[k - 1, 0] += square * inverse
        out[k - 1, 1] += square
        out[k - 1, 2] += transfer * inverse
        out[k - 1, 3] += transfer
    for ky in range(1, int(np.sqrt(float(shells * (shells + 1) - k2))) + 1):
        k2 += 2 * ky - 1
        passed = int(k2 > end)
        k += passed
        end += passed * 2 * k
        w, a = omega_hat[ky], advection_hat[ky]
        v, b = omega_hat[n - ky], advection_hat[n - ky]
        square, transfer = _product(w, w) + _product(v, v), _product(w, a) + _product(v, b)
        inverse = 1.0 / k2
        out[k - 1, 0] += square * inverse
        out[k - 1, 1] += square
        out[k - 1, 2] += transfer * inverse
        out[k - 1, 3] += transfer


@njit(cache=True)
def shell_maxima(omega_hat: Any, advection_hat: Any, kx: Any, weight: Any, largest: Any) -> None:
    """largest[m, k - 1, q] <- the largest |sum| over shell k of any column, weight[kx] times.

    q: see `_column_shells`; a NaN stays.
    """
    members, shells, quantities = largest.shape
    sums = np.empty((shells, quantities))
    for m in range(members):
        most = largest[m].reshape(sums.size)
        for i in range(len(kx)):
            _column_shells(omega_hat[m, 0, i], advection_hat[m, 0, i], int(kx[i]), sums)
            begin = (max(int(kx[i]), 1) - 1) * quantities
            _raise(most[begin:], weight[i], sums.reshape(sums.size)[begin:])


@njit(cache=True)
def shell_slices(
    omega_hat: Any, advection_hat: Any, kx: Any, weight: Any, grids: Any, slices: Any
) -> None:
    """slices[s, m, k - 1, q] += of each column's sum over shell k, weight[kx] times, the part
    that is a multiple of the last bit of grids[s, m, k - 1, q]; see `spectral/reductions.py`.
    """
    parts, members, shells, quantities = slices.shape
    sums = np.empty((shells, quantities))
    for m in range(members):
        for i in range(len(kx)):
            _column_shells(omega_hat[m, 0, i], advection_hat[m, 0, i], int(kx[i]), sums)
            begin = (max(int(kx[i]), 1) - 1) * quantities
            rest = sums.reshape(sums.size)[begin:]
            for t in range(len(rest)):
                rest[t] *= weight[i]
            for s in range(parts):
                grid, added = grids[s, m].reshape(sums.size), slices[s, m].reshape(sums.size)
                _cut(rest, grid[begin:], added[begin:])


@njit(cache=True)
def _raise(largest: Any, weight: float, terms: Any) -> None:
    """A loop of its own, over views from their starts, so that it becomes vector instructions."""
    for t in range(len(terms)):
        size = abs(weight * terms[t])
        largest[t] = largest[t] if size <= largest[t] else size


@njit(cache=True)
def _cut(rest: Any, grid: Any, added: Any) -> None:
    """Likewise."""
    for t in range(len(rest)):
        part = (rest[t] + grid[t]) - grid[t]
        rest[t] -= part
        added[t] += part
