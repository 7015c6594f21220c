"""The loops over numpy's arrays: compiled by numba, one layer of one member at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eddyscope.config.arrays import AnyArray, ComplexArray, RealArray
from eddyscope.spectral.kernels import products, updates

__all__ = ["HostLoops"]


class HostLoops:
    """See `spectral.kernels.loops.Loops`. Numbers are in the fields' own precision: in another,
    the compiled loops would be, too."""

    @staticmethod
    def ab2cn_update(
        omega_hat: ComplexArray,
        advection: ComplexArray,
        previous: ComplexArray,
        before: RealArray,
        inverse_after: RealArray,
        now: float,
        then: float,
    ) -> None:
        real = before.dtype.type
        before, after = by_layer(before, omega_hat), by_layer(inverse_after, omega_hat)
        for at in np.ndindex(omega_hat.shape[:2]):
            fields = omega_hat[at], advection[at], previous[at]
            updates.ab2cn_update(*fields, before[at[1]], after[at[1]], real(now), real(then))

    @staticmethod
    def rk_update(
        omega_hat: ComplexArray,
        loss: ComplexArray,
        increment: ComplexArray,
        decay: RealArray | ComplexArray,
        a: float,
        b: float,
        dt: float,
    ) -> None:
        real = omega_hat.real.dtype.type
        numbers = real(a), real(b), real(dt)
        factors = by_layer(decay, omega_hat)
        for at in np.ndindex(omega_hat.shape[:2]):
            fields = omega_hat[at], loss[at], increment[at]
            updates.rk_update(*fields, factors[at[1]], *numbers)

    @staticmethod
    def subtract_waves(loss: ComplexArray, dispersion: RealArray, omega_hat: ComplexArray) -> None:
        waves = by_layer(dispersion, omega_hat)
        for at in np.ndindex(omega_hat.shape[:2]):
            updates.subtract_waves(loss[at], waves[at[1]], omega_hat[at])

    @staticmethod
    def multiply(field_hat: ComplexArray, factor: RealArray, out: ComplexArray) -> None:
        np.multiply(field_hat, factor, out=out)

    @staticmethod
    def stack(fields: Sequence[ComplexArray]) -> ComplexArray:
        return fields[0][None] if len(fields) == 1 else np.stack(fields)

    @staticmethod
    def maxima(field: RealArray) -> RealArray:
        largest: RealArray = field.max(axis=(2, 3))
        return largest

    @staticmethod
    def all_finite(field: ComplexArray) -> bool:
        return bool(np.isfinite(field).all())

    # The pair is û ± iv̂ in columns and u + iv on points, see `kernels/products.py`.

    velocity_columns = staticmethod(products.velocity_columns)
    velocity_products = staticmethod(products.velocity_products)

    @staticmethod
    def advection_from_products(
        one: ComplexArray,
        other: ComplexArray,
        kx: RealArray,
        ky: RealArray,
        scale: float,
        out: ComplexArray,
    ) -> None:
        half = kx.dtype.type(0.5 * scale)
        products.advection_from_products(one, other, kx, ky, half, out)


def by_layer(factor: AnyArray, omega_hat: ComplexArray) -> AnyArray:
    """A factor of each mode, the same for all layers or not, as a view (layer, kx, ky).

    factor: shape (1, 1, kx, ky) or (1, layer, kx, ky); omega_hat: (member, layer, kx, ky).
    """
    layers: AnyArray = factor[0]
    if len(layers) == omega_hat.shape[1]:
        return layers  # at once: it is asked for at every step
    return np.broadcast_to(layers, omega_hat.shape[1:])
