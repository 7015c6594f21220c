"""Compiled copies between columns (kx, y) of two fields and blocks of rows (y, x) of both.

Two real fields u, v are one complex field u + iv, so one complex transform along x serves both:
it costs what two real ones do, and half of that in float32, for which FFTW's real transforms are
not vectorised. The first columns are û + iv̂ and the second û − iv̂, for 0 ≤ kx < n/2, since

    (u + iv)^(kx) = û(kx) + i v̂(kx),    (u + iv)^(−kx) = (û(kx) − i v̂(kx))*.

Ranks have columns for all y of some kx before a transpose, and for some y (their rows) of all kx
after it. What is sent to a rank lies together in a buffer, axes (field, kx, y), as it does where
it arrives; what a rank has for itself stays where it is.
"""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["collect", "put_block", "spread", "take_block"]

STRIP = 8
"""Columns at a time: those of a row fill whole lines of the cache."""


@njit(cache=True)
def spread(some: Any, sent: Any, field: int, at: int, kept: int, tops: Any) -> None:
    """Columns some[i, y], the field's from number `at` of `kept` on, into the buffers one after
    the other in `sent`: rank r's has rows tops[r] to tops[r + 1]."""
    for r in range(len(tops) - 1):
        rows, begin = tops[r + 1] - tops[r], 2 * kept * tops[r]
        for i in range(len(some)):
            to = begin + (field * kept + at + i) * rows
            sent[to : to + rows] = some[i, tops[r] : tops[r + 1]]


@njit(cache=True)
def collect(some: Any, sent: Any, field: int, at: int, kept: int, tops: Any) -> None:
    """The way back of `spread`."""
    for r in range(len(tops) - 1):
        rows, begin = tops[r + 1] - tops[r], 2 * kept * tops[r]
        for i in range(len(some)):
            of = begin + (field * kept + at + i) * rows
            some[i, tops[r] : tops[r + 1]] = sent[of : of + rows]


@njit(cache=True)
def take_block(
    mine: Any, received: Any, rank: int, starts: Any, block: Any, first: int, rows: int
) -> None:
    """block[b, :] = (u + iv)^ at row first + b for b < rows; zero in the rows after.

    mine: this rank's own columns of its own rows, axes (field, kx, y); received: those of the
    other ranks, one after the other. Rank r's are kx = starts[r] to starts[r + 1].
    """
    kept, n, height, at = starts[-1], block.shape[1], mine.shape[2], 0
    for r in range(len(starts) - 1):
        columns, count = mine, starts[r + 1] - starts[r]
        if r != rank:
            columns = received[at : at + 2 * count * height].reshape((2, count, height))
            at += 2 * count * height
        _take(columns[:, :, first : first + rows], starts[r], block)
    block[:rows, kept : n - kept + 1] = 0
    block[rows:] = 0


@njit(cache=True)
def put_block(
    mine: Any, received: Any, rank: int, starts: Any, block: Any, first: int, rows: int
) -> None:
    """The way back of `take_block`, for the modes kept and b < rows."""
    height, at = mine.shape[2], 0
    for r in range(len(starts) - 1):
        columns, count = mine, starts[r + 1] - starts[r]
        if r != rank:
            columns = received[at : at + 2 * count * height].reshape((2, count, height))
            at += 2 * count * height
        _put(columns[:, :, first : first + rows], starts[r], block)


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
