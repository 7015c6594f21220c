"""Sums over modes that have the same bits on any number of ranks, and shell spectra.

Floating-point sums depend on their order, and the order on the layout. Here each term is
cut into slices on a common grid of powers of two (pre-rounding), so that every partial sum
is exact and the order cannot matter. Three slices keep about 100 bits below the largest
term: more accurate than a plain sum.

Reference: Demmel & Nguyen, "Parallel reproducible summation", IEEE Trans. Comput. 64 (2015).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.parallel.reduce import largest as largest_anywhere
from eddyscope.parallel.reduce import total as total_of
from eddyscope.spectral.sums import bin_maxima, bin_slices
from eddyscope.spectral.transform import Transform

__all__ = ["ModeSums", "exact_sums"]

SLICES = 3


def exact_sums(
    terms: NDArray[np.float64], bins: NDArray[np.intp] | None, n_bins: int, count: int, comm: Any
) -> NDArray[np.float64]:
    """Sums of `terms`, shape (member, term), over all ranks by bin: shape (member, bin).

    bins: the bin of each term, n_bins for a term left out; None puts all in one bin.
    count: a bound on the terms of one bin on all ranks. Collective over `comm`.
    """
    if bins is None:
        bins = np.zeros(terms.shape[1], dtype=np.intp)
    terms = np.ascontiguousarray(terms, dtype=np.float64)
    largest = np.zeros((len(terms), n_bins + 1))
    bin_maxima(terms, bins, largest)
    largest = largest_anywhere(comm, largest)
    spare = int(np.ceil(np.log2(count))) + 1
    top = np.frexp(largest)[1] + spare
    grids = np.stack([np.ldexp(1.5, top - s * (52 - spare)) for s in range(SLICES)])
    sums = np.zeros((SLICES, len(terms), n_bins + 1))
    bin_slices(terms, bins, grids, sums)
    total: NDArray[np.float64] = total_of(comm, sums).sum(axis=0)
    return total[:, :n_bins]


class ModeSums:
    """Sums of spectral densities of each local member, over all modes or over shells.

    A density is a real array of `transform.spectral_shape` (member, layer, …), the
    contribution of one stored coefficient; the modes it stands for are counted here.
    """

    def __init__(self, transform: Transform):
        self.comm = transform.mesh.pencil_comm
        self.n_shells = transform.grid.n_shells
        self.n_columns = transform.spectral_total[2]
        self.count = int(np.prod(transform.spectral_total[1:]))
        self.weight = np.asarray(transform.weight * transform.keep, dtype=np.float64)
        # Shell k holds k - 1/2 < |k| <= k + 1/2; the mean and the corners are left out.
        modulus = np.hypot(transform.kx, transform.ky)
        shell = np.ceil(modulus - 0.5).astype(np.intp)
        outside = (shell < 1) | (shell > self.n_shells)
        shell = np.where(outside, self.n_shells, shell - 1)
        full = np.broadcast_to(shell, (1, *transform.spectral_shape[1:]))
        self.shell = np.ascontiguousarray(full).reshape(-1)

    def total(self, density: NDArray[Any]) -> NDArray[np.float64]:
        """Sum over all modes, shape (member,). Collective over the pencils."""
        return exact_sums(self._terms(density), None, 1, self.count, self.comm)[:, 0]

    def of_columns(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Totals, shape (member, quantity), of sums over each column of ky, shape (member,
        quantity, kx). No rank holds part of a column, so those sums have one order anyway.
        Collective over the pencils."""
        members, quantities, here = columns.shape
        flat = columns.reshape(members * quantities, here)
        totals = exact_sums(flat, None, 1, self.n_columns, self.comm)
        return totals.reshape(members, quantities)

    def shells(self, density: NDArray[Any]) -> NDArray[np.float64]:
        """Sums over shells k = 1 … n/2 - 1, shape (member, shell). Collective over the pencils."""
        return exact_sums(self._terms(density), self.shell, self.n_shells, self.count, self.comm)

    def _terms(self, density: NDArray[Any]) -> NDArray[np.float64]:
        return (density * self.weight).reshape(len(density), -1)
