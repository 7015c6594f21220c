"""Whether ψ and ω are those of one flow, ∇²ψ = −ω; and if they are not, what is likely wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eddyscope.config.arrays import FloatArray
from eddyscope.spectral.grid import BOX
from eddyscope.spectral.rectangle import energy_product, minus_inverse_laplacian

__all__ = ["deviation", "likely_reason"]

CLOSE = 1e-2
"""How near a factor must be to one that has a name; how near ψ to ω once it is explained."""

Length = tuple[float, float]


def deviation(psi: FloatArray, omega: FloatArray, length: Length) -> float:
    """How far the velocities of ψ are from those of ω, relative to the latter: of fields (y, x) on
    a periodic rectangle. Rounding of ψ hardly counts there, as it would in −∇²ψ."""
    wanted = minus_inverse_laplacian(omega, length)
    apart = psi - wanted
    size = energy_product(wanted, wanted, length)
    error = max(energy_product(apart, apart, length), 0.0)
    if size <= 0.0:
        return 0.0 if error <= 0.0 else float("inf")
    return float(np.sqrt(error / size))


def likely_reason(psi: FloatArray, omega: FloatArray, length: Length, scale: float) -> str:
    """What is likely wrong with ψ, and the way out. scale: what ψ was multiplied by already."""
    wanted = minus_inverse_laplacian(omega, length)
    for words, changed in _changes(psi):
        square = energy_product(changed, changed, length)
        factor = energy_product(changed, wanted, length) / square if square > 0.0 else 0.0
        if factor and deviation(factor * changed, omega, length) < CLOSE:
            return _told(words, factor, scale, psi.shape, length)
    return (
        "neither a sign, a factor, swapped axes nor a flipped one explains it; are both of the "
        "same samples, periodic, and by exact derivatives? if they are of finite differences, "
        "leave one out, or raise --tolerance"
    )


def _changes(psi: FloatArray) -> Iterator[tuple[str, FloatArray]]:
    """Ways in which ψ may be laid out otherwise than ω: what to say, and ψ as it should be."""
    yield "", psi
    if psi.shape[0] == psi.shape[1]:
        yield "the axes y and x of one of them are swapped: write one anew with axes (y, x)", psi.T
    yield "the axis y of one of them is reversed: write one anew, y upwards", psi[::-1]
    yield "the axis x of one of them is reversed: write one anew", psi[:, ::-1]
    yield "x and y are both reversed in one of them: write one anew", psi[::-1, ::-1]


def _told(words: str, factor: float, scale: float, shape: tuple[int, ...], length: Length) -> str:
    """The reason, in words."""
    points = float(np.prod(shape))
    sides = length[0] * length[1] / BOX**2
    named = {
        "": 1.0,
        "psi is too small by n², as of a Fourier transform that is normalised twice": points,
        "psi is too large by n², as of one that is not normalised": 1.0 / points,
    }
    if abs(sides - 1.0) > CLOSE:
        named["psi is that of a box of length 2π"] = sides
        named["psi is off by (2π/L)²: is --length right?"] = 1.0 / sides
    found = (text for text, one in named.items() if abs(abs(factor) / one - 1.0) < CLOSE)
    scaled = next(found, f"psi is off by a factor {abs(factor):.4g}: other units, or --length?")
    signed = "psi has the other sign" if factor < 0 else ""
    reasons = " and ".join(text for text in (signed, scaled, words) if text)
    if not signed and not scaled:
        return reasons
    return f"{reasons}; it fits with --scale psi={scale * factor:.6g}"
