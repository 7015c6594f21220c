"""Compiled loops of the advection term: velocities, products, and J from their transforms."""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["advection_from_products", "velocity_columns", "velocity_products"]


@njit(cache=True)
def velocity_columns(
    omega_hat: Any, inverse_k2: Any, kx: Any, ky: Any, u_hat: Any, v_hat: Any
) -> None:
    """û = i ky ψ̂ and v̂ = −i kx ψ̂ with ψ̂ = ω̂/k², padded along ky with zeros."""
    n, n_product = omega_hat.shape[1], u_hat.shape[1]
    half = n // 2
    for i in range(omega_hat.shape[0]):
        for j in range(half):
            psi = omega_hat[i, j] * inverse_k2[i, j]
            u_hat[i, j] = complex(-ky[j] * psi.imag, ky[j] * psi.real)
            v_hat[i, j] = complex(kx[i] * psi.imag, -kx[i] * psi.real)
        for j in range(half, n_product - half + 1):
            u_hat[i, j] = 0
            v_hat[i, j] = 0
        for j in range(half + 1, n):
            psi = omega_hat[i, j] * inverse_k2[i, j]
            to = n_product - n + j
            u_hat[i, to] = complex(-ky[j] * psi.imag, ky[j] * psi.real)
            v_hat[i, to] = complex(kx[i] * psi.imag, -kx[i] * psi.real)


@njit(cache=True)
def velocity_products(points: Any, maxima: Any) -> None:
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
    uv_hat: Any, difference_hat: Any, kx: Any, ky: Any, scale: Any, out: Any
) -> None:
    """Ĵ = (ky² − kx²) (uv)^ − kx ky (v² − u²)^ of the modes kept; zero at the Nyquist mode."""
    n, n_product = out.shape[1], uv_hat.shape[1]
    half = n // 2
    for i in range(out.shape[0]):
        for j in range(half):
            a = scale * (ky[j] * ky[j] - kx[i] * kx[i])
            b = scale * kx[i] * ky[j]
            out[i, j] = a * uv_hat[i, j] - b * difference_hat[i, j]
        out[i, half] = 0
        for j in range(half + 1, n):
            a = scale * (ky[j] * ky[j] - kx[i] * kx[i])
            b = scale * kx[i] * ky[j]
            at = n_product - n + j
            out[i, j] = a * uv_hat[i, at] - b * difference_hat[i, at]
