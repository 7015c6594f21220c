"""Compiled sums of energy and enstrophy, and of what changes them, over columns of ky.

No rank holds part of a column, so a column's sums have one order on any number of ranks.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from eddyscope.config.arrays import ComplexArray, FloatArray, IntArray

__all__ = ["QUANTITIES", "add_budget_columns", "add_sum_columns", "shell_maxima", "shell_slices"]

QUANTITIES = (
    "energy",
    "enstrophy",
    "palinstrophy",
    "energy_input",
    "enstrophy_input",
    "energy_dissipation",
    "enstrophy_dissipation",
)
"""What a record has of each member, in its order."""


@njit(cache=True)
def _product(a: complex, b: complex) -> float:
    """Re(a* b) in float64, also of float32, of which numba's `float` would make float32."""
    return np.float64(a.real) * np.float64(b.real) + np.float64(a.imag) * np.float64(b.imag)


@njit(cache=True)
def add_budget_columns(
    omega_hat: ComplexArray,
    other_hat: ComplexArray,
    other_f_hat: ComplexArray,
    k2: FloatArray,
    energy_weight: FloatArray,
    loss: FloatArray,
    weight: FloatArray,
    layer_weight: float,
    out: FloatArray,
) -> None:
    """out[quantity, kx] += of two layers ω and ω', the sums of QUANTITIES over ky, weight[kx]
    times; axes (kx, ky), one member.

    energy_weight: M of the two layers, of whose E = ½ Σ Re(ω* M ω') these are the terms; f and
    loss, the rate of damping, are those of ω'. layer_weight: the layer's where ω' is ω, and 0 for
    two different layers, which have a common energy, but no common enstrophy.
    """
    for i in range(omega_hat.shape[0]):
        energy = enstrophy = palinstrophy = lost_energy = lost_enstrophy = 0.0
        energy_input = enstrophy_input = 0.0
        for j in range(omega_hat.shape[1]):
            w, v, f = omega_hat[i, j], other_hat[i, j], other_f_hat[i, j]
            square, work = _product(w, v), -_product(w, f)
            of_energy = energy_weight[i, j]
            energy += 0.5 * square * of_energy
            enstrophy += 0.5 * square
            palinstrophy += 0.5 * square * k2[i, j]
            energy_input += work * of_energy
            enstrophy_input += work
            lost_energy += loss[i, j] * square * of_energy
            lost_enstrophy += loss[i, j] * square
        out[0, i] += weight[i] * energy
        out[1, i] += layer_weight * weight[i] * enstrophy
        out[2, i] += layer_weight * weight[i] * palinstrophy
        out[3, i] += weight[i] * energy_input
        out[4, i] += layer_weight * weight[i] * enstrophy_input
        out[5, i] += weight[i] * lost_energy
        out[6, i] += layer_weight * weight[i] * lost_enstrophy


@njit(cache=True)
def add_sum_columns(
    values: FloatArray,
    energy_weight: FloatArray,
    weight: FloatArray,
    layer_weight: float,
    out: FloatArray,
) -> None:
    """out[0, kx] += sums of M · values over ky, out[1, kx] += sums of values, layer_weight times;
    one layer of one member."""
    for i in range(values.shape[0]):
        energy = enstrophy = 0.0
        for j in range(values.shape[1]):
            energy += values[i, j] * energy_weight[i, j]
            enstrophy += values[i, j]
        out[0, i] += weight[i] * energy
        out[1, i] += layer_weight * weight[i] * enstrophy


@njit(cache=True)
def _column_shells(
    omega_hat: ComplexArray,
    other_hat: ComplexArray,
    other_advection_hat: ComplexArray,
    energy_weight: FloatArray,
    same: bool,
    kx: int,
    out: FloatArray,
) -> None:
    """out[k - 1, :] <- of one column of two layers, the sums over shell k - 1/2 < |k| <= k + 1/2 of
    M Re(ω̂* ω̂'), Re(ω̂* ω̂'), M Re(ω̂* Ĵ') and Re(ω̂* Ĵ'), for k from max(kx, 1); what is before is
    left as it is. The shells are those of `spectral/shells.py`. same: whether ω' is ω.

    In whole numbers, shell k ends at kx² + ky² = k (k + 1), and one step of ky never passes
    more than one end.
    """
    n, shells = omega_hat.shape[0], out.shape[0]
    k, k2, end = kx, kx * kx, kx * (kx + 1)
    out[max(kx, 1) - 1 :] = 0.0
    if kx > 0:
        square = _product(omega_hat[0], other_hat[0])
        transfer = _product(omega_hat[0], other_advection_hat[0])
        of_energy = energy_weight[0]
        out[k - 1, 0] += square * of_energy
        out[k - 1, 1] += square
        out[k - 1, 2] += transfer * of_energy
        out[k - 1, 3] += transfer
    for ky in range(1, int(np.sqrt(float(shells * (shells + 1) - k2))) + 1):
        k2 += 2 * ky - 1
        passed = int(k2 > end)
        k += passed
        end += passed * 2 * k
        w, v = omega_hat[ky], omega_hat[n - ky]
        if same:
            square = _product(w, w) + _product(v, v)
        else:
            square = _product(w, other_hat[ky]) + _product(v, other_hat[n - ky])
        transfer = _product(w, other_advection_hat[ky]) + _product(v, other_advection_hat[n - ky])
        of_energy = energy_weight[ky]
        out[k - 1, 0] += square * of_energy
        out[k - 1, 1] += square
        out[k - 1, 2] += transfer * of_energy
        out[k - 1, 3] += transfer


@njit(cache=True)
def _all_shells(
    omega_hat: ComplexArray,
    advection_hat: ComplexArray,
    i: int,
    kx: int,
    pairs: IntArray,
    energy_weights: FloatArray,
    layer_weights: FloatArray,
    work: FloatArray,
    out: FloatArray,
) -> None:
    """out[k - 1, :] <- `_column_shells` of column i of one member, summed over the pairs of layers
    that have an energy in common; from max(kx, 1) on. work: an array like out."""
    first = max(kx, 1) - 1
    for p in range(len(pairs)):
        one, other = pairs[p]
        columns = omega_hat[one, i], omega_hat[other, i], advection_hat[other, i]
        found = out if p == 0 else work
        _column_shells(*columns, energy_weights[p, i], one == other, kx, found)
        of_layer = layer_weights[one] if one == other else 0.0
        if of_layer != 1.0:
            found[first:, 1::2] *= of_layer
        if p > 0:
            out[first:] += work[first:]


@njit(cache=True)
def shell_maxima(
    omega_hat: ComplexArray,
    advection_hat: ComplexArray,
    kx: FloatArray,
    weight: FloatArray,
    pairs: IntArray,
    energy_weights: FloatArray,
    layer_weights: FloatArray,
    largest: FloatArray,
) -> None:
    """largest[m, k - 1, q] <- the largest |sum| over shell k of any column, weight[kx] times.

    pairs: layers (l, l') that have an energy in common, shape (pair, 2); energy_weights: their M,
    shape (pair, kx, ky). q: see `_column_shells`; a NaN stays.
    """
    members, shells, quantities = largest.shape
    sums, work = np.empty((shells, quantities)), np.empty((shells, quantities))
    for m in range(members):
        most = largest[m].reshape(sums.size)
        state, advection = omega_hat[m], advection_hat[m]
        for i in range(len(kx)):
            k = int(kx[i])
            _all_shells(state, advection, i, k, pairs, energy_weights, layer_weights, work, sums)
            begin = (max(k, 1) - 1) * quantities
            _raise(most[begin:], weight[i], sums.reshape(sums.size)[begin:])


@njit(cache=True)
def shell_slices(
    omega_hat: ComplexArray,
    advection_hat: ComplexArray,
    kx: FloatArray,
    weight: FloatArray,
    pairs: IntArray,
    energy_weights: FloatArray,
    layer_weights: FloatArray,
    grids: FloatArray,
    slices: FloatArray,
) -> None:
    """slices[s, m, k - 1, q] += of each column's sum over shell k, weight[kx] times, the part
    that is a multiple of the last bit of grids[s, m, k - 1, q]; see `spectral/reductions.py`.
    """
    parts, members, shells, quantities = slices.shape
    sums, work = np.empty((shells, quantities)), np.empty((shells, quantities))
    for m in range(members):
        state, advection = omega_hat[m], advection_hat[m]
        for i in range(len(kx)):
            k = int(kx[i])
            _all_shells(state, advection, i, k, pairs, energy_weights, layer_weights, work, sums)
            begin = (max(k, 1) - 1) * quantities
            rest = sums.reshape(sums.size)[begin:]
            for t in range(len(rest)):
                rest[t] *= weight[i]
            for s in range(parts):
                grid, added = grids[s, m].reshape(sums.size), slices[s, m].reshape(sums.size)
                _cut(rest, grid[begin:], added[begin:])


@njit(cache=True)
def _raise(largest: FloatArray, weight: float, terms: FloatArray) -> None:
    """A loop of its own, over views from their starts, so that it becomes vector instructions."""
    for t in range(len(terms)):
        size = abs(weight * terms[t])
        largest[t] = largest[t] if size <= largest[t] else size


@njit(cache=True)
def _cut(rest: FloatArray, grid: FloatArray, added: FloatArray) -> None:
    """Likewise."""
    for t in range(len(rest)):
        part = (rest[t] + grid[t]) - grid[t]
        rest[t] -= part
        added[t] += part
