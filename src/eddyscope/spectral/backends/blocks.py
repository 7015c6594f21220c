"""Compiled copies between columns (kx, y) of two fields and blocks of rows (y, x) of both.

Two real fields u, v are one complex field u + iv, so one complex transform along x serves both:
it costs what two real ones do, and half of that in float32, for which FFTW's real transforms are
not vectorised. With n points along x,

    (u + iv)^(kx) = û(kx) + i v̂(kx),    (u + iv)^(n − kx) = û(kx)* + i v̂(kx)*    for kx < n/2.

A rank has some columns itself, for all y, from number `begin` on; of the others it has been sent
its own rows only, which begin at `top`. Columns pass through a tile, axes (field, row, kx), a few
at a time: columns and rows are both far apart in memory, often by a power of two, where whole
lines must be read and written at once lest they drive each other out of the nearest cache.
"""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["TILE", "put_block", "take_block"]

TILE = 8
"""Columns at a time: those of a row fill whole lines of the cache."""


@njit(cache=True)
def take_block(
    columns: Any, others: Any, begin: int, top: int, tile: Any, block: Any, first: int, rows: int
) -> None:
    """block[b, :] = (u + iv)^ at row first + b for b < rows; zero in the rows after."""
    kept, n = others.shape[1], block.shape[1]
    end = begin + columns.shape[1]
    for k0 in range(0, kept, TILE):
        count = min(TILE, kept - k0)
        for f in range(2):
            for k in range(count):
                if begin <= k0 + k < end:
                    for b in range(rows):
                        tile[f, b, k] = columns[f, k0 + k - begin, top + first + b]
                else:
                    for b in range(rows):
                        tile[f, b, k] = others[f, k0 + k, first + b]
        for b in range(rows):
            if k0 > 0 and count == TILE:  # as below, but for loops of known length
                for k in range(TILE):
                    u, v = tile[0, b, k], tile[1, b, k]
                    block[b, k0 + k] = complex(u.real - v.imag, u.imag + v.real)
                for k in range(TILE):
                    u, v = tile[0, b, k], tile[1, b, k]
                    block[b, n - k0 - k] = complex(u.real + v.imag, v.real - u.imag)
                continue
            for k in range(count):
                u, v = tile[0, b, k], tile[1, b, k]
                if k0 + k == 0:  # the mean along x is real, but for rounding
                    block[b, 0] = complex(u.real, v.real)
                else:
                    block[b, k0 + k] = complex(u.real - v.imag, u.imag + v.real)
                    block[b, n - k0 - k] = complex(u.real + v.imag, v.real - u.imag)
    for b in range(rows):
        for kx in range(kept, n - kept + 1):
            block[b, kx] = 0
    for b in range(rows, block.shape[0]):
        for kx in range(n):
            block[b, kx] = 0


@njit(cache=True)
def put_block(
    columns: Any, others: Any, begin: int, top: int, tile: Any, block: Any, first: int, rows: int
) -> None:
    """The way back of `take_block`, times 2, for the modes kept and b < rows."""
    kept, n = others.shape[1], block.shape[1]
    end = begin + columns.shape[1]
    for k0 in range(0, kept, TILE):
        count = min(TILE, kept - k0)
        for b in range(rows):
            if k0 > 0 and count == TILE:
                for k in range(TILE):
                    w, c = block[b, k0 + k], block[b, n - k0 - k]
                    tile[0, b, k] = complex(w.real + c.real, w.imag - c.imag)
                    tile[1, b, k] = complex(w.imag + c.imag, c.real - w.real)
                continue
            for k in range(count):
                w, c = block[b, k0 + k], block[b, n - k0 - k if k0 + k > 0 else 0]
                tile[0, b, k] = complex(w.real + c.real, w.imag - c.imag)
                tile[1, b, k] = complex(w.imag + c.imag, c.real - w.real)
        for f in range(2):
            for k in range(count):
                if begin <= k0 + k < end:
                    for b in range(rows):
                        columns[f, k0 + k - begin, top + first + b] = tile[f, b, k]
                else:
                    for b in range(rows):
                        others[f, k0 + k, first + b] = tile[f, b, k]
