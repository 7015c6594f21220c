"""Compiled copies between columns (kx, y) and blocks of rows (y, kx). Pure moves: no rounding."""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["put_block", "take_block"]


@njit(cache=True)
def take_block(columns: Any, block: Any, first: int, rows: int) -> None:
    """block[f, b, kx] = columns[f, kx, first + b] for b < rows; zero elsewhere.

    Columns are read along their contiguous axis, while the few rows of the block that are
    written across stay in the nearest cache.
    """
    fields, kept = block.shape[0], columns.shape[1]
    for f in range(fields):
        for kx in range(kept):
            for b in range(rows):
                block[f, b, kx] = columns[f, kx, first + b]
        for b in range(rows):
            for kx in range(kept, block.shape[2]):
                block[f, b, kx] = 0
        for b in range(rows, block.shape[1]):
            for kx in range(block.shape[2]):
                block[f, b, kx] = 0


@njit(cache=True)
def put_block(columns: Any, block: Any, first: int, rows: int) -> None:
    """columns[f, kx, first + b] = block[f, b, kx] for the modes kept and b < rows."""
    for f in range(block.shape[0]):
        for kx in range(columns.shape[1]):
            for b in range(rows):
                columns[f, kx, first + b] = block[f, b, kx]
