"""Kernels of a convolution in Fourier space: what they amplify, and what re-training moved.

A layer computes h_j = Σ_b W_jb ⋆ g_b + b_j, where ⋆ is cross-correlation (what deep
learning calls convolution). On a periodic grid of n × n points this is, wavenumber by
wavenumber,

    ĥ_j(k) = Σ_b T_jb(k) ĝ_b(k) + n² b_j δ_k0,      T = conj(FFT W̃),

with W̃ the kernel zero-padded to n × n and its centre rolled to the origin. T is the
kernel's frequency response, |T| its amplification of each wavenumber. A kernel of s × s
weights has s² degrees of freedom: |T|² is a trigonometric polynomial of degree s − 1 along
each axis, and finer detail than about n/s in k is interpolation. A strided convolution
amplifies its input by |T| before it leaves points out.

Arrays: weights (out, in, row, column), of any sides; maps (out, in, ky, kx) in FFT order.
No function here communicates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eddyscope.config.arrays import BoolArray, ComplexArray, FloatArray, IntArray, RealArray
from eddyscope.spectral.shells import shell_counts, shell_of, sums_over_plane

__all__ = [
    "KINDS",
    "Change",
    "Shape",
    "change",
    "amplification",
    "by_wavenumber",
    "describe",
    "frequency_response",
    "shell_amplification",
]

KINDS = ("silent", "low-pass", "band-pass", "high-pass", "Gabor", "all-pass")
"""Kinds of kernels; `Shape.kind` holds their places in this tuple."""

FLAT = 0.6
"""Mean of |T|² over its maximum above which a kernel favours no wavenumber: all-pass."""
ORIENTED = 0.4
"""Anisotropy above which a kernel counts as oriented; 19 in 20 random 5 × 5 kernels have less."""
CENTRED = 0.25
"""Peaks at |k| below this share of n/2 count as being at k = 0."""
EDGE = 0.9
"""Peaks at |k| above this share of n/2 count as being at the edge of the grid."""

PAIRS = 512
"""Most pairs of kernels in the null model."""


def frequency_response(weights: RealArray, n: int) -> ComplexArray:
    """T(k) = conj(FFT W̃) of each kernel, shape (…, n, n) in FFT order.

    weights: (…, row, column). The centre of s points is point s // 2, counted from 0. What
    is wider than the grid goes round it, as it does where padding is circular.
    """
    *kernels, rows, columns = weights.shape
    turns = -(-rows // n), -(-columns // n)
    padded = np.zeros((*kernels, turns[0] * n, turns[1] * n))
    padded[..., :rows, :columns] = weights
    wrapped = padded.reshape(*kernels, turns[0], n, turns[1], n).sum(axis=(-4, -2))
    centred = np.roll(wrapped, (-(rows // 2), -(columns // 2)), axis=(-2, -1))
    response: ComplexArray = np.conj(np.fft.fft2(centred))
    return response


def amplification(weights: RealArray, n: int) -> FloatArray:
    """|T(k)|: the factor by which each kernel amplifies wavenumber k, shape (…, n, n)."""
    factor: FloatArray = np.abs(frequency_response(weights, n))
    return factor


def by_wavenumber(weights: RealArray, n: int) -> dict[str, FloatArray]:
    """What kernels (out, in, …) of any number of dimensions do to |k|, on n points a direction:
    `amplification` as `shell_amplification`, and centroid, bandwidth, zero_share and peak as in
    `Shape`, which has more to say of two dimensions."""
    dims = weights.ndim - 2
    k = np.fft.fftfreq(n, 1.0 / n)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[k] * dims, indexing="ij"))).ravel()
    shell = shell_of(radius)
    rows = [_of_power(_power(row, n), radius / (n / 2), shell) for row in weights]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _power(row: RealArray, n: int) -> FloatArray:
    """|T|² of the kernels (in, …) of one output, (in, wavenumbers)."""
    folded = row.astype(np.float64)
    for axis in range(1, row.ndim):  # what is wider than the grid goes round it
        sides = np.moveaxis(folded, axis, -1)
        turns = -(-sides.shape[-1] // n)
        padded = np.zeros((*sides.shape[:-1], turns * n))
        padded[..., : sides.shape[-1]] = sides
        wrapped = padded.reshape(*sides.shape[:-1], turns, n).sum(axis=-2)
        folded = np.moveaxis(wrapped, -1, axis)
    response = np.fft.fftn(folded, axes=range(1, row.ndim))
    power: FloatArray = np.abs(response.reshape(len(row), -1)) ** 2
    return power


def _of_power(power: FloatArray, radius: FloatArray, shell: IntArray) -> dict[str, FloatArray]:
    sums = np.stack([np.bincount(shell, weights=of_one) for of_one in power])
    total, highest = power.sum(axis=-1), power.max(axis=-1)
    weight = power / np.where(total == 0.0, 1.0, total)[:, None]
    centroid = weight @ radius
    return {
        "amplification": np.sqrt(sums / np.bincount(shell)),
        "centroid": centroid,
        "bandwidth": np.sqrt(np.maximum(weight @ radius**2 - centroid**2, 0.0)),
        "zero_share": np.sqrt(power[:, 0] / np.where(highest == 0.0, 1.0, highest)),
        "peak": radius[power.argmax(axis=-1)],
    }


def wavenumbers(n: int) -> tuple[FloatArray, FloatArray]:
    """(|k|, angle of k) on the n × n grid in FFT order, k integer from −n/2 to n/2 − 1."""
    k = np.fft.fftfreq(n, 1.0 / n)
    return np.hypot(k[:, None], k[None, :]), np.arctan2(k[:, None], k[None, :])


def shell_amplification(maps: FloatArray) -> FloatArray:
    """Root mean square of |T| over each shell |k| = 0, 1, … up to the corners; (…, shells)."""
    radial: FloatArray = np.sqrt(
        sums_over_plane(maps**2, corners=True) / shell_counts(maps.shape[-1])
    )
    return radial


@dataclass(frozen=True)
class Shape:
    """What kernels look like in Fourier space; every array has the axes (out, in)."""

    centroid: FloatArray
    """Σ|k||T|² / Σ|T|², in units of n/2; 0.77 for a kernel that favours no wavenumber."""
    bandwidth: FloatArray
    """Standard deviation of |k| weighted by |T|², in units of n/2."""
    anisotropy: FloatArray
    """|Σ|T|² exp(2iφ)| / Σ|T|²: 0 for rings and discs, towards 1 for two lobes at ±k."""
    zero_share: FloatArray
    """|T(0)| / max|T|: 1 for a mean, 0 for a derivative."""
    peak: FloatArray
    """|k| where |T| is largest, in units of n/2."""
    kind: IntArray
    """Index into KINDS."""


def describe(maps: FloatArray) -> Shape:
    """Centroid, bandwidth, anisotropy and kind of kernels from |T|, shape (out, in, n, n)."""
    n = maps.shape[-1]
    radius, angle = (a.ravel() for a in wavenumbers(n))
    radius = radius / (n / 2)
    power = (maps**2).reshape(*maps.shape[:-2], n * n)
    total = power.sum(axis=-1)
    silent = total == 0.0
    weight = power / np.where(silent, 1.0, total)[..., None]
    centroid = weight @ radius
    bandwidth = np.sqrt(np.maximum(weight @ radius**2 - centroid**2, 0.0))
    # A Nyquist mode stands for +n/2 and −n/2 alike: its two angles leave the even part.
    turn = np.where(_has_nyquist(n), np.cos(2 * angle), np.exp(2j * angle))
    turn[0] = 0.0  # k = 0 points nowhere
    anisotropy = np.abs(weight @ turn)
    highest = power.max(axis=-1)
    safe = np.where(silent, 1.0, highest)
    zero_share = np.sqrt(power[..., 0] / safe)
    peak = radius[power.argmax(axis=-1)]
    flatness = power.mean(axis=-1) / safe
    kind = _kind(silent, flatness, anisotropy, zero_share, peak)
    return Shape(centroid, bandwidth, anisotropy, zero_share, peak, kind)


def _has_nyquist(n: int) -> BoolArray:
    """Whether a wavenumber has a component n/2, shape (n²,); none has if n is odd."""
    nyquist = 2 * np.arange(n) == n
    either: BoolArray = nyquist[:, None] | nyquist[None, :]
    return either.ravel()


def _kind(
    silent: BoolArray,
    flatness: FloatArray,
    anisotropy: FloatArray,
    zero_share: FloatArray,
    peak: FloatArray,
) -> IntArray:
    """The first of the rules that holds, in the order of the tests below."""
    centred = peak <= CENTRED
    rules = [
        (silent, "silent"),
        (flatness >= FLAT, "all-pass"),
        (centred, "low-pass"),
        ((anisotropy >= ORIENTED) & (zero_share < 0.5), "Gabor"),
        (peak >= EDGE, "high-pass"),
    ]
    codes = [KINDS.index(name) for _, name in rules]
    chosen = np.select([rule for rule, _ in rules], codes, KINDS.index("band-pass"))
    return chosen.astype(np.int8)


@dataclass(frozen=True)
class Change:
    """How far re-training moved each kernel of a layer; arrays have the axes (out, in)."""

    weights: FloatArray
    """‖W' − W‖, Frobenius."""
    spectrum: FloatArray
    """‖|T'| − |T|‖ / n: at most `weights` (Parseval and the triangle inequality)."""
    relative: float
    """‖W' − W‖ / ‖W‖ of the whole layer."""
    null: float
    """Median of ‖|T_a| − |T_b|‖ / n over pairs of different kernels a, b of the base's layer."""

    @property
    def over_null(self) -> FloatArray:
        """Spectral change in units of the null: 1 is as different as another kernel altogether."""
        ratio: FloatArray = self.spectrum / self.null if self.null > 0 else self.spectrum * np.nan
        return ratio


def change(before: RealArray, after: RealArray, n: int, seed: int) -> Change:
    """The change of each kernel from `before` to `after`, weights (out, in, row, column).

    The null model takes away the meaning of "changed": it pairs each kernel of the base
    layer with another one of that layer, drawn by `seed`.
    """
    size = np.linalg.norm(before)
    moved = np.linalg.norm(after - before, axis=(-2, -1))
    # One output channel at a time: the maps of a whole layer can take gigabytes.
    rows = (amplification(b, n) - amplification(a, n) for b, a in zip(before, after, strict=True))
    distance = np.stack([np.linalg.norm(row, axis=(-2, -1)) / n for row in rows])
    relative = float(np.linalg.norm(moved) / size) if size > 0 else float("nan")
    return Change(moved, distance, relative, _null(before, n, seed))


def _null(weights: RealArray, n: int, seed: int) -> float:
    kernels = weights.reshape(-1, *weights.shape[-2:])
    if len(kernels) < 2:
        return float("nan")
    random = np.random.Generator(np.random.Philox(key=seed))
    # A random cyclic order pairs every kernel with exactly one other, never with itself.
    order = random.permutation(len(kernels))[:PAIRS]
    pairs = zip(order, np.roll(order, 1), strict=True)
    distances = [
        np.linalg.norm(amplification(kernels[a], n) - amplification(kernels[b], n)) / n
        for a, b in pairs
    ]
    return float(np.median(distances))
