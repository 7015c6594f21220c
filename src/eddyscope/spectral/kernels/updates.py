"""Compiled updates of the time-stepping schemes, of one layer of one member."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from eddyscope.config.arrays import ComplexArray, RealArray

__all__ = ["ab2cn_update", "rk_update", "subtract_waves"]

Real = np.floating[Any]
"""A number in the fields' own precision."""


@njit(cache=True)
def ab2cn_update(
    omega_hat: ComplexArray,
    advection: ComplexArray,
    previous: ComplexArray,
    before: RealArray,
    inverse_after: RealArray,
    now: Real,
    then: Real,
) -> None:
    """ω̂ <- (before·ω̂ − now·Ĵ + then·Ĵ₋) · inverse_after, and Ĵ₋ <- Ĵ; axes (kx, ky).

    now = 3/2 Δt, then = 1/2 Δt of the fields' own precision: worked out here, they would be
    float64, and so would the loop.
    """
    for i in range(omega_hat.shape[0]):
        for j in range(omega_hat.shape[1]):
            change = now * advection[i, j] - then * previous[i, j]
            omega_hat[i, j] = (before[i, j] * omega_hat[i, j] - change) * inverse_after[i, j]
            previous[i, j] = advection[i, j]


@njit(cache=True)
def rk_update(
    omega_hat: ComplexArray,
    loss: ComplexArray,
    increment: ComplexArray,
    decay: RealArray | ComplexArray,
    a: Real,
    b: Real,
    dt: Real,
) -> None:
    """G <- a G − Δt·loss; ω̂ <- decay·(ω̂ + b G); G <- decay·G; axes (kx, ky)."""
    for i in range(omega_hat.shape[0]):
        for j in range(omega_hat.shape[1]):
            change = a * increment[i, j] - dt * loss[i, j]
            omega_hat[i, j] = decay[i, j] * (omega_hat[i, j] + b * change)
            increment[i, j] = decay[i, j] * change


@njit(cache=True)
def subtract_waves(loss: ComplexArray, dispersion: RealArray, omega_hat: ComplexArray) -> None:
    """loss <- loss − i · dispersion · ω̂; axes (kx, ky)."""
    for i in range(loss.shape[0]):
        for j in range(loss.shape[1]):
            rate, omega = dispersion[i, j], omega_hat[i, j]
            loss[i, j] += complex(rate * omega.imag, -rate * omega.real)
