"""Sums over modes that have the same bits on any number of ranks.

Floating-point sums depend on their order, and the order on the layout. Here each term is
cut into slices on a common grid of powers of two (pre-rounding), so that every partial sum
is exact and the order cannot matter. Two slices keep about 80 bits below the largest term
and three about 120: more accurate than a plain sum.

Reference: Demmel & Nguyen, "Parallel reproducible summation", IEEE Trans. Comput. 64 (2015).
"""

from __future__ import annotations

import numpy as np

from eddyscope.config.arrays import FloatArray
from eddyscope.parallel.reduce import largest as largest_anywhere
from eddyscope.parallel.reduce import total as total_of
from eddyscope.parallel.world import Comm

__all__ = ["add_slices", "exact_sums", "slice_grids"]

SLICES = 3
"""Of a term of an exact sum: about 120 bits below the largest term."""

SMALLEST = -1022
"""Exponent below which a grid would be finer than the finest number there is."""


def exact_sums(terms: FloatArray, count: int, comm: Comm) -> FloatArray:
    """Sums of `terms` over their last axis and over all ranks, shape without that axis.

    count: a bound on the terms of one sum on all ranks. Collective over `comm`.
    """
    largest = np.abs(terms).max(axis=-1, initial=0.0)
    grids = slice_grids(largest, count, SLICES, comm)
    slices = np.empty_like(grids)
    rest = terms
    with np.errstate(invalid="ignore"):  # what is not finite stays so, and is looked for later
        for grid, added in zip(grids[..., None], slices, strict=True):
            part = (rest + grid) - grid
            rest = rest - part
            part.sum(axis=-1, out=added)
        return add_slices(slices, comm)


def slice_grids(largest: FloatArray, count: int, slices: int, comm: Comm) -> FloatArray:
    """The grids on which to cut the terms of sums into slices, shape (slice, …sum).

    Adding a grid to a term and subtracting it again leaves the term's slice, a multiple of
    the grid's last bit; what is left of the term goes to the next, finer grid. Every sum of
    up to `count` slices is exact. largest: of each sum, the largest |term| on this rank.
    Collective over `comm`.
    """
    spare = int(np.ceil(np.log2(count))) + 1
    top = np.frexp(largest_anywhere(comm, largest))[1] + spare
    exponents = [np.maximum(top - s * (52 - spare), SMALLEST) for s in range(slices)]
    grids: FloatArray = np.ldexp(1.5, np.stack(exponents))
    return grids


def add_slices(slices: FloatArray, comm: Comm) -> FloatArray:
    """The sums over all ranks of each rank's sums of slices, shape (slice, …sum), and over
    the slices. Collective over `comm`."""
    total: FloatArray = total_of(comm, slices).sum(axis=0)
    return total
