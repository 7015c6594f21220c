"""Sums over shells of wavenumbers: the one definition of them.

Shell k holds the modes of the full plane with k − 1/2 < |k| ≤ k + 1/2. On a grid of n modes the
shells k = 1 … n/2 − 1 are whole, or nearly: they lack what lies beyond the grid's sides. Modes in
the corners, |k| > n/2 − 1/2, fill shells up to n/√2 in part.

  corners = False  the shells k = 1 … n/2 − 1. The sum over them lacks the mean and the corners:
                   of a turbulent energy spectrum about 0.1 %.
  corners = True   the shells k = 0, 1, … up to the corners, so that nothing is left out: the sum
                   over them is the sum over all modes (Parseval).

`solver/budgets.py` has the same sums, corners = False, in compiled loops over the ranks' columns.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from eddyscope.config.arrays import FloatArray, IntArray, RealArray
from eddyscope.spectral.half_plane import modulus, weights

__all__ = ["shell_counts", "shell_index", "shell_of", "sums_over_half_plane", "sums_over_plane"]


def shell_index(n: int) -> IntArray:
    """The shell of each mode of the full plane, shape (n, n), both axes as in fftfreq."""
    k = np.fft.fftfreq(n, 1.0 / n)
    return shell_of(np.hypot(k[:, None], k[None, :]))


def shell_counts(n: int) -> IntArray:
    """How many modes of the full plane each shell k = 0, 1, … up to the corners holds."""
    return np.bincount(shell_index(n).ravel())


def sums_over_half_plane(density: RealArray, corners: bool = False) -> FloatArray:
    """Sums of what belongs to each stored coefficient of real fields, and of its conjugate.

    density: axes (…, ky, kx), shape (…, n, n/2 + 1). Gives shape (…, shell).
    """
    n = density.shape[-2]
    return _sums(density * weights(n), _half_plane_shells(n), n, corners)


def sums_over_plane(density: RealArray, corners: bool = False) -> FloatArray:
    """Sums of what belongs to each mode of the full plane, shape (…, n, n); gives (…, shell)."""
    n = density.shape[-1]
    return _sums(density, shell_index(n), n, corners)


def _sums(density: RealArray, shells: IntArray, n: int, corners: bool) -> FloatArray:
    rows = density.reshape(-1, shells.size)
    kept = slice(None) if corners else slice(1, n // 2)
    count = int(shells.max()) + 1
    found = np.zeros((len(rows), count))
    for sums, row in zip(found, rows, strict=True):
        sums[...] = np.bincount(shells.ravel(), weights=row, minlength=count)
    return found[:, kept].reshape(*density.shape[:-2], -1)


def shell_of(k: FloatArray) -> IntArray:
    """The shell of each |k|, of wave vectors of whole numbers."""
    # |k|² is a whole number and never (k + 1/2)²: rounding cannot put a mode in the wrong shell.
    return np.ceil(k - 0.5).astype(np.int64)


@cache
def _half_plane_shells(n: int) -> IntArray:
    """The shell of each coefficient of the half plane, shape (n, n/2 + 1)."""
    return shell_of(modulus(n))
