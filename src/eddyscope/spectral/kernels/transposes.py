"""Compiled copies between columns (kx, y) of two fields and blocks of rows (y, x) of both.

Two real fields u, v are one complex field u + iv, so one complex transform along x serves both:
it costs what two real ones do, and half of that in float32, for which FFTW's real transforms are
not vectorised. The first columns are û + iv̂ and the second û − iv̂, for 0 ≤ kx < n/2, since

    (u + iv)^(kx) = û(kx) + i v̂(kx),    (u + iv)^(−kx) = (û(kx) − i v̂(kx))*.

Ranks have columns for all y of some kx before a transpose, and for some y (their rows) of all kx
after it. What goes to a rank lies together in a buffer, axes (field, kx, y), as it does where it
arrives; what a rank has for itself stays where it is.

columns_from: where each rank's kx begin, and the end of the last one's; rows_from: of y, likewise.
"""

from __future__ import annotations

from numba import njit

from eddyscope.config.arrays import ComplexArray, IntArray

__all__ = ["columns_to_rows", "pack", "rows_to_columns", "unpack"]

STRIP = 8
"""Columns at a time: those of a row fill whole lines of the cache."""


@njit(cache=True)
def pack(
    columns: ComplexArray,
    outgoing: ComplexArray,
    field: int,
    at: int,
    kept: int,
    rows_from: IntArray,
) -> None:
    """columns[i, y], the field's from number `at` of `kept` on, into the ranks' buffers, which
    lie one after the other in `outgoing`."""
    for r in range(len(rows_from) - 1):
        rows, begin = rows_from[r + 1] - rows_from[r], 2 * kept * rows_from[r]
        for i in range(len(columns)):
            to = begin + (field * kept + at + i) * rows
            outgoing[to : to + rows] = columns[i, rows_from[r] : rows_from[r + 1]]


@njit(cache=True)
def unpack(
    columns: ComplexArray,
    outgoing: ComplexArray,
    field: int,
    at: int,
    kept: int,
    rows_from: IntArray,
) -> None:
    """The inverse of `pack`: `outgoing` has come back."""
    for r in range(len(rows_from) - 1):
        rows, begin = rows_from[r + 1] - rows_from[r], 2 * kept * rows_from[r]
        for i in range(len(columns)):
            of = begin + (field * kept + at + i) * rows
            columns[i, rows_from[r] : rows_from[r + 1]] = outgoing[of : of + rows]


@njit(cache=True)
def columns_to_rows(
    own: ComplexArray,
    incoming: ComplexArray,
    rank: int,
    columns_from: IntArray,
    block: ComplexArray,
    first: int,
    rows: int,
) -> None:
    """block[b, :] = (u + iv)^ at row first + b for b < rows; zero in the rows after.

    own: this rank's own columns of its own rows, axes (field, kx, y); incoming: those of the
    other ranks, one after the other.
    """
    kept, n, height, at = columns_from[-1], block.shape[1], own.shape[2], 0
    for r in range(len(columns_from) - 1):
        columns, count = own, columns_from[r + 1] - columns_from[r]
        if r != rank:
            columns = incoming[at : at + 2 * count * height].reshape((2, count, height))
            at += 2 * count * height
        _fill_rows(columns[:, :, first : first + rows], columns_from[r], block)
    block[:rows, kept : n - kept + 1] = 0
    block[rows:] = 0


@njit(cache=True)
def rows_to_columns(
    own: ComplexArray,
    incoming: ComplexArray,
    rank: int,
    columns_from: IntArray,
    block: ComplexArray,
    first: int,
    rows: int,
) -> None:
    """The inverse of `columns_to_rows`, for the modes kept and b < rows."""
    height, at = own.shape[2], 0
    for r in range(len(columns_from) - 1):
        columns, count = own, columns_from[r + 1] - columns_from[r]
        if r != rank:
            columns = incoming[at : at + 2 * count * height].reshape((2, count, height))
            at += 2 * count * height
        _fill_columns(columns[:, :, first : first + rows], columns_from[r], block)


# Strips of STRIP columns have loops of known length, which compilers turn into whole vectors.


@njit(cache=True)
def _fill_rows(columns: ComplexArray, kx: int, block: ComplexArray) -> None:
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
def _fill_columns(columns: ComplexArray, kx: int, block: ComplexArray) -> None:
    """The inverse of `_fill_rows`."""
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
