"""Compiled loops of the reproducible sums; see `spectral/reductions.py`."""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["bin_maxima", "bin_slices"]


@njit(cache=True)
def bin_maxima(terms: Any, bins: Any, largest: Any) -> None:
    """largest[m, b] <- max |terms[m, t]| over the terms t of bin b; a NaN stays."""
    for m in range(terms.shape[0]):
        for t in range(terms.shape[1]):
            size = abs(terms[m, t])
            if not size <= largest[m, bins[t]]:
                largest[m, bins[t]] = size


@njit(cache=True)
def bin_slices(terms: Any, bins: Any, grids: Any, sums: Any) -> None:
    """sums[s, m, b] += the part of each term that is a multiple of the last bit of grid s.

    Adding and subtracting a large power of two rounds to such a multiple, and what is left
    goes to the next, finer grid. Every sum of such parts is exact.
    """
    for m in range(terms.shape[0]):
        for t in range(terms.shape[1]):
            rest, b = terms[m, t], bins[t]
            for s in range(grids.shape[0]):
                part = (rest + grids[s, m, b]) - grids[s, m, b]
                rest -= part
                sums[s, m, b] += part
