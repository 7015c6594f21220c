"""Compiled copies between columns (kx, y) and blocks of rows (y, kx). Pure moves: no rounding.

A rank has some columns itself, for all y, from number `begin` on; of the others it has been sent
its own rows only, which begin at `top`.
"""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["put_block", "take_block"]


@njit(cache=True)
def take_block(
    columns: Any, others: Any, begin: int, top: int, block: Any, first: int, rows: int
) -> None:
    """block[f, b, kx] = others[f, kx, first + b] for b < rows, or, of a column that this rank has
    itself, columns[f, kx − begin, top + first + b]; zero elsewhere.

    Columns are read along their contiguous axis, while the few rows of the block that are
    written across stay in the nearest cache.
    """
    kept = others.shape[1]
    end = begin + columns.shape[1]
    for f in range(block.shape[0]):
        for kx in range(begin):
            for b in range(rows):
                block[f, b, kx] = others[f, kx, first + b]
        for kx in range(begin, end):
            for b in range(rows):
                block[f, b, kx] = columns[f, kx - begin, top + first + b]
        for kx in range(end, kept):
            for b in range(rows):
                block[f, b, kx] = others[f, kx, first + b]
        for b in range(rows):
            for kx in range(kept, block.shape[2]):
                block[f, b, kx] = 0
        for b in range(rows, block.shape[1]):
            for kx in range(block.shape[2]):
                block[f, b, kx] = 0


@njit(cache=True)
def put_block(
    columns: Any, others: Any, begin: int, top: int, block: Any, first: int, rows: int
) -> None:
    """The way back of `take_block`, for the modes kept and b < rows."""
    kept = others.shape[1]
    end = begin + columns.shape[1]
    for f in range(block.shape[0]):
        for kx in range(begin):
            for b in range(rows):
                others[f, kx, first + b] = block[f, b, kx]
        for kx in range(begin, end):
            for b in range(rows):
                columns[f, kx - begin, top + first + b] = block[f, b, kx]
        for kx in range(end, kept):
            for b in range(rows):
                others[f, kx, first + b] = block[f, b, kx]
