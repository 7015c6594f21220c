"""Compiled copies between columns (kx, y) of two fields and blocks of rows (y, x) of both.

Two real fields u, v are one complex field u + iv, so one complex transform along x serves both:
it costs what two real ones do, and half of that in float32, for which FFTW's real transforms are
not vectorised. The first columns are û + iv̂ and the second û − iv̂, for 0 ≤ kx < n/2, since

    (u + iv)^(kx) = û(kx) + i v̂(kx),    (u + iv)^(−kx) = (û(kx) − i v̂(kx))*.

A rank has some columns itself, for all y, from number `begin` on; of the others it has been sent
its own rows only, which begin at `top`.
"""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["put_block", "take_block"]

STRIP = 8
"""Columns at a time: those of a row fill whole lines of the cache."""


@njit(cache=True)
def take_block(
    columns: Any, others: Any, begin: int, top: int, block: Any, first: int, rows: int
) -> None:
    """block[b, :] = (u + iv)^ at row first + b for b < rows; zero in the rows after."""
    kept, n = others.shape[1], block.shape[1]
    end = begin + columns.shape[1]
    _take(others[:, :begin, first : first + rows], 0, block)
    _take(columns[:, :, top + first : top + first + rows], begin, block)
    _take(others[:, end:, first : first + rows], end, block)
    block[:rows, kept : n - kept + 1] = 0
    block[rows:] = 0


@njit(cache=True)
def put_block(
    columns: Any, others: Any, begin: int, top: int, block: Any, first: int, rows: int
) -> None:
    """The way back of `take_block`, for the modes kept and b < rows."""
    end = begin + columns.shape[1]
    _put(others[:, :begin, first : first + rows], 0, block)
    _put(columns[:, :, top + first : top + first + rows], begin, block)
    _put(others[:, end:, first : first + rows], end, block)


# Strips of STRIP columns have loops of known length, which compilers turn into whole vectors.


@njit(cache=True)
def _take(columns: Any, kx: int, block: Any) -> None:
    """Columns, axes (field, kx, row), from wavenumber kx on into the block's first rows."""
    (_, count, rows), n = columns.shape, block.shape[1]
    at = 0
    if kx == 0 and count > 0:
        for b in range(rows):  # the means of u and v along x are real, but for rounding
            block[b, 0] = 0.5 * (columns[0, 0, b] + columns[1, 0, b].conjugate())
        at = 1
    while at < count:
        width = min(STRIP, count - at)
        up = block[:, kx + at : kx + at + width]
        down = block[:, n - kx - at - width + 1 : n - kx - at + 1]
        plus, minus = columns[0, at : at + width], columns[1, at : at + width]
        if width == STRIP:
            for b in range(rows):
                for k in range(STRIP):
                    up[b, k] = plus[k, b]
            for b in range(rows):
                for k in range(STRIP):
                    down[b, k] = minus[STRIP - 1 - k, b].conjugate()
        else:
            for b in range(rows):
                for k in range(width):
                    up[b, k] = plus[k, b]
                    down[b, width - 1 - k] = minus[k, b].conjugate()
        at += width


@njit(cache=True)
def _put(columns: Any, kx: int, block: Any) -> None:
    """The way back of `_take`."""
    (_, count, rows), n = columns.shape, block.shape[1]
    at = 0
    if kx == 0 and count > 0:
        for b in range(rows):
            columns[0, 0, b] = block[b, 0]
            columns[1, 0, b] = block[b, 0].conjugate()
        at = 1
    while at < count:
        width = min(STRIP, count - at)
        up = block[:, kx + at : kx + at + width]
        down = block[:, n - kx - at - width + 1 : n - kx - at + 1]
        plus, minus = columns[0, at : at + width], columns[1, at : at + width]
        if width == STRIP:
            for b in range(rows):
                for k in range(STRIP):
                    plus[k, b] = up[b, k]
            for b in range(rows):
                for k in range(STRIP):
                    minus[k, b] = down[b, STRIP - 1 - k].conjugate()
        else:
            for b in range(rows):
                for k in range(width):
                    plus[k, b] = up[b, k]
                    minus[k, b] = down[b, width - 1 - k].conjugate()
        at += width
