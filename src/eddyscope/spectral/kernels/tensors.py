"""The loops over torch's tensors, all members and layers at once, on a CPU or a GPU.

Compiled, a loop is given coefficients as real numbers along a last axis of two, and factors with a
last axis of one: of complex numbers torch.compile makes no loops. As they are, tensors are complex.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from eddyscope.config.arrays import AnyArray, ComplexArray, RealArray
from eddyscope.spectral.kernels.casts import array_of, tensor_of

__all__ = ["TensorLoops"]

NUMBERS = 100
"""Numbers kept on the device; of the lengths of steps that adapt there is no end."""


Loop = Callable[..., None]
"""Of tensors and numbers."""


class TensorLoops:
    """See `spectral.kernels.loops.Loops`. A pair is two coefficients, or two fields on points."""

    def __init__(self, compiled: bool, one_by_one: bool):
        """compiled: whether torch.compile makes one loop of each function; one_by_one: whether
        each layer of each member goes through a loop by itself.

        The last numbers of a loop on a CPU are not rounded as the others, which go through it as
        vectors: the bits of a field would depend on how many members there are.
        """
        made: Callable[[Loop], Loop] = torch.compile if compiled else _as_it_is
        self._ab2cn = made(_ab2cn)
        self._rk = made(_rk)
        self._waves = made(_waves)
        self._velocity = made(_velocity)
        self._products = made(_products)
        self._advection = made(_advection)
        self.compiled = compiled
        self.one_by_one = one_by_one
        self._numbers: dict[tuple[float, torch.dtype, torch.device], Tensor] = {}

    def ab2cn_update(
        self,
        omega_hat: ComplexArray,
        advection: ComplexArray,
        previous: ComplexArray,
        before: RealArray,
        inverse_after: RealArray,
        now: float,
        then: float,
    ) -> None:
        fields = [self._field(omega_hat), self._field(advection), self._field(previous)]
        factors = [self._factor(before), self._factor(inverse_after)]
        numbers = self._numbers_for(before, now, then)
        for part in self._together(fields, factors):
            self._ab2cn(*part, *numbers)

    def rk_update(
        self,
        omega_hat: ComplexArray,
        loss: ComplexArray,
        increment: ComplexArray,
        decay: RealArray | ComplexArray,
        a: float,
        b: float,
        dt: float,
    ) -> None:
        fields = [self._field(omega_hat), self._field(loss), self._field(increment)]
        is_complex = tensor_of(decay).is_complex()
        factor = self._field(decay) if is_complex else self._factor(decay)
        numbers = self._numbers_for(factor, a, b, dt)
        for part in self._together(fields, [factor]):
            self._rk(*part, *numbers)

    def subtract_waves(
        self, loss: ComplexArray, dispersion: RealArray, omega_hat: ComplexArray
    ) -> None:
        fields = [self._field(loss), self._field(omega_hat)]
        for part in self._together(fields, [self._factor(dispersion)]):
            self._waves(*part)

    def multiply(self, field_hat: ComplexArray, factor: RealArray, out: ComplexArray) -> None:
        torch.mul(tensor_of(field_hat), tensor_of(factor), out=tensor_of(out))

    def stack(self, fields: Sequence[ComplexArray]) -> ComplexArray:
        return array_of(torch.stack([tensor_of(field) for field in fields]))

    def maxima(self, field: RealArray) -> RealArray:
        return array_of(tensor_of(field).amax(dim=(-2, -1)))

    def all_finite(self, field: ComplexArray) -> bool:
        return bool(torch.isfinite(tensor_of(field)).all())

    def velocity_columns(
        self,
        omega_hat: ComplexArray,
        inverse_k2: RealArray,
        kx: RealArray,
        ky: RealArray,
        one: ComplexArray,
        other: ComplexArray,
    ) -> None:
        n, padded = omega_hat.shape[-1], one.shape[-1]
        x = self._factor(kx[:, None])
        for of, to in _halves(n, padded):
            factors = self._factor(inverse_k2[:, of]), x, self._factor(ky[of])
            pair = self._field(one[..., to]), self._field(other[..., to])
            self._velocity(self._field(omega_hat[..., of]), *factors, *pair)

    def velocity_products(self, points: ComplexArray, maxima: RealArray) -> None:
        u, v = tensor_of(points)
        self._products(u, v, tensor_of(maxima))

    def advection_from_products(
        self,
        one: ComplexArray,
        other: ComplexArray,
        kx: RealArray,
        ky: RealArray,
        scale: float,
        out: ComplexArray,
    ) -> None:
        n, padded = out.shape[-1], one.shape[-1]
        x = self._factor(kx[:, None])
        out[..., n // 2] = 0
        for to, of in _halves(n, padded):
            pair = self._field(one[..., of]), self._field(other[..., of])
            self._advection(*pair, x, self._factor(ky[to]), scale, self._field(out[..., to]))

    def _field(self, field_hat: AnyArray) -> Tensor:
        """Coefficients as a loop takes them."""
        tensor = tensor_of(field_hat)
        return torch.view_as_real(tensor) if self.compiled else tensor

    def _factor(self, factor: AnyArray) -> Tensor:
        """A real factor of each mode as a loop takes it."""
        tensor = tensor_of(factor)
        return tensor[..., None] if self.compiled else tensor

    def _together(
        self, fields: Sequence[Tensor], factors: Sequence[Tensor]
    ) -> Iterator[list[Tensor]]:
        """What a loop takes at a time."""
        if not self.one_by_one:
            yield [*fields, *factors]
            return
        shape = fields[0].shape[:2]
        of_fields = [factor.expand(*shape, *factor.shape[2:]) for factor in factors]
        for at in np.ndindex(*shape):
            yield [array[at] for array in (*fields, *of_fields)]

    def _numbers_for(self, like: AnyArray | Tensor, *values: float) -> list[Tensor | float]:
        """Numbers for a loop: of a compiled one tensors, or it would be compiled anew for every
        other length of a step."""
        if not self.compiled:
            return list(values)
        dtype, device = cast(Tensor, like).dtype, cast(Tensor, like).device
        if len(self._numbers) > NUMBERS:
            self._numbers.clear()
        for value in values:
            if (value, dtype, device) not in self._numbers:
                number = torch.tensor(value, dtype=dtype, device=device)
                self._numbers[value, dtype, device] = number
        return [self._numbers[value, dtype, device] for value in values]


def _as_it_is(function: Loop) -> Loop:
    return function


def _halves(n: int, padded: int) -> list[tuple[slice, slice]]:
    """Where the modes 0 ≤ ky < n/2 and −n/2 < ky < 0 are among n, and among more, padded."""
    half = n // 2
    low, high = slice(0, half), slice(half + 1, n)
    return [(low, low), (high, slice(padded - half + 1, padded))]


# The loops themselves; each changes its arguments in place.


def _ab2cn(
    omega: Tensor,
    advection: Tensor,
    previous: Tensor,
    before: Tensor,
    after: Tensor,
    now: Tensor | float,
    then: Tensor | float,
) -> None:
    omega.mul_(before).sub_(now * advection).add_(then * previous).mul_(after)
    previous.copy_(advection)


def _rk(
    omega: Tensor,
    loss: Tensor,
    increment: Tensor,
    decay: Tensor,
    a: Tensor | float,
    b: Tensor | float,
    dt: Tensor | float,
) -> None:
    increment.mul_(a).sub_(dt * loss)
    omega.add_(b * increment)
    omega.copy_(_product(omega, decay))
    increment.copy_(_product(increment, decay))


def _waves(loss: Tensor, omega: Tensor, dispersion: Tensor) -> None:
    loss.sub_(_i_times(dispersion, omega))


def _velocity(omega: Tensor, inverse: Tensor, kx: Tensor, ky: Tensor, u: Tensor, v: Tensor) -> None:
    psi = omega * inverse
    u.copy_(_i_times(ky, psi))
    v.copy_(_i_times(-kx, psi))


def _products(u: Tensor, v: Tensor, maxima: Tensor) -> None:
    """|u| + |v| is the larger of |u + v| and |u − v|, of which v² − u² is made, too."""
    plus, minus, over = u + v, v - u, (-2, -1)
    largest = torch.maximum(plus.amax(over), minus.amax(over))
    smallest = torch.minimum(plus.amin(over), minus.amin(over))
    maxima.copy_(torch.maximum(maxima, torch.maximum(largest, -smallest)))
    u.mul_(v)
    torch.mul(plus, minus, out=v)


def _advection(
    uv: Tensor, difference: Tensor, kx: Tensor, ky: Tensor, scale: float, out: Tensor
) -> None:
    torch.mul(uv, scale * (ky * ky - kx * kx), out=out)
    out.sub_((scale * kx * ky) * difference)


def _i_times(factor: Tensor, field: Tensor) -> Tensor:
    """i · factor · field, of a real factor."""
    if field.is_complex():
        return (1j * factor) * field
    real, imaginary = (factor * field).unbind(-1)
    return torch.stack((-imaginary, real), dim=-1)


def _product(field: Tensor, factor: Tensor) -> Tensor:
    """Of complex numbers by real or complex ones, which have a last axis of two."""
    if field.is_complex() or factor.shape[-1] == 1:
        return field * factor
    (a, b), (c, d) = field.unbind(-1), factor.unbind(-1)
    return torch.stack((a * c - b * d, a * d + b * c), dim=-1)
