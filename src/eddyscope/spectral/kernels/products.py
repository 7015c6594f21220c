"""Compiled loops of the advection term: velocities, products, and J from their transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from eddyscope.config.arrays import ComplexArray, RealArray

__all__ = ["advection_from_products", "velocity_columns", "velocity_products"]


@njit(cache=True)
def velocity_columns(
    omega_hat: ComplexArray,
    inverse_k2: RealArray,
    kx: RealArray,
    ky: RealArray,
    plus: ComplexArray,
    minus: ComplexArray,
) -> None:
    """û ± iv̂ = (i ky ± kx) ψ̂ with ψ̂ = ω̂/k², padded along ky with zeros."""
    half, n = omega_hat.shape[1] // 2, plus.shape[1]
    for i in range(len(kx)):
        omega, inverse, p, m = omega_hat[i], inverse_k2[i], plus[i], minus[i]
        _velocity(omega[:half], inverse[:half], kx[i], ky[:half], p[:half], m[:half])
        p[half : n - half + 1] = 0
        m[half : n - half + 1] = 0
        low, to = half + 1, n - half + 1
        _velocity(omega[low:], inverse[low:], kx[i], ky[low:], p[to:], m[to:])


@njit(cache=True)
def _velocity(
    omega_hat: ComplexArray,
    inverse_k2: RealArray,
    kx: float,
    ky: RealArray,
    plus: ComplexArray,
    minus: ComplexArray,
) -> None:
    for j in range(len(ky)):
        psi = omega_hat[j] * inverse_k2[j]
        u, v = complex(-ky[j] * psi.imag, ky[j] * psi.real), complex(kx * psi.imag, -kx * psi.real)
        plus[j] = complex(u.real - v.imag, u.imag + v.real)
        minus[j] = complex(u.real + v.imag, u.imag - v.real)


@njit(cache=True)
def velocity_products(points: ComplexArray, maxima: RealArray) -> None:
    """u + iv -> uv + i(v² − u²), in place; maxima[x] is raised to max(|u| + |v|) over y."""
    for y in range(points.shape[0]):
        for x in range(points.shape[1]):
            u, v = points[y, x].real, points[y, x].imag
            # A maximum of each x, since a single one would have to be taken point by point. A
            # NaN is kept, whatever comes after it.
            speed, fastest = abs(u) + abs(v), maxima[x]
            maxima[x] = fastest if (speed <= fastest or fastest != fastest) else speed
            points[y, x] = complex(u * v, v * v - u * u)


@njit(cache=True)
def advection_from_products(
    plus: ComplexArray,
    minus: ComplexArray,
    kx: RealArray,
    ky: RealArray,
    scale: np.floating[Any],
    out: ComplexArray,
) -> None:
    """2 scale Ĵ of the modes kept, Ĵ = (ky² − kx²) (uv)^ − kx ky (v² − u²)^, from
    (uv)^ ± i(v² − u²)^; zero at the Nyquist mode."""
    half, n = out.shape[1] // 2, plus.shape[1]
    for i in range(len(kx)):
        p, m, to = plus[i], minus[i], out[i]
        _advection(p[:half], m[:half], kx[i], ky[:half], scale, to[:half])
        to[half] = 0
        low, at = half + 1, n - half + 1
        _advection(p[at:], m[at:], kx[i], ky[low:], scale, to[low:])


@njit(cache=True)
def _advection(
    plus: ComplexArray,
    minus: ComplexArray,
    kx: float,
    ky: RealArray,
    scale: np.floating[Any],
    out: ComplexArray,
) -> None:
    for j in range(len(ky)):
        a = scale * (ky[j] * ky[j] - kx * kx)
        b = scale * kx * ky[j]
        p, m = plus[j], minus[j]
        out[j] = complex(
            a * (p.real + m.real) - b * (p.imag - m.imag),
            a * (p.imag + m.imag) + b * (p.real - m.real),
        )
