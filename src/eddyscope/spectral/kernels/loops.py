"""The loops over fields that flows and schemes call by name, whatever their arrays are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from eddyscope.config.arrays import ComplexArray, RealArray

__all__ = ["Loops"]


class Loops(Protocol):
    """Of one kind of arrays; a transform has those of its own (`Transform.loops`). Not collective.

    Fields are (member, layer, kx, ky); a factor of each mode is (1, 1 or layer, kx, ky).
    """

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
        """ω̂ <- (before·ω̂ − now·Ĵ + then·Ĵ₋) · inverse_after, and Ĵ₋ <- Ĵ.

        now = 3/2 Δt, then = 1/2 Δt.
        """

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
        """G <- a G − Δt·loss; ω̂ <- decay·(ω̂ + b G); G <- decay·G."""

    def subtract_waves(
        self, loss: ComplexArray, dispersion: RealArray, omega_hat: ComplexArray
    ) -> None:
        """loss <- loss − i · dispersion · ω̂."""

    def multiply(self, field_hat: ComplexArray, factor: RealArray, out: ComplexArray) -> None:
        """out <- factor · field."""

    def stack(self, fields: Sequence[ComplexArray]) -> ComplexArray:
        """Fields along a new first axis, to be read only."""

    def maxima(self, field: RealArray) -> RealArray:
        """The largest value of each member and layer, (member, layer); a NaN stays."""

    def all_finite(self, field: ComplexArray) -> bool:
        """Whether all values are."""

    # What `FusedKernel.map_points` is given; two fields are in the kernel's own form.

    def velocity_columns(
        self,
        omega_hat: ComplexArray,
        inverse_k2: RealArray,
        kx: RealArray,
        ky: RealArray,
        one: ComplexArray,
        other: ComplexArray,
    ) -> None:
        """The pair û = i ky ψ̂, v̂ = −i kx ψ̂ of some columns, with ψ̂ = ω̂/k²; axes (…, kx, ky)."""

    def velocity_products(self, points: ComplexArray, maxima: RealArray) -> None:
        """The pair u, v -> the pair uv, v² − u², in place; maxima are raised to |u| + |v|."""

    def advection_from_products(
        self,
        one: ComplexArray,
        other: ComplexArray,
        kx: RealArray,
        ky: RealArray,
        scale: float,
        out: ComplexArray,
    ) -> None:
        """out <- scale · [(ky² − kx²) (uv)^ − kx ky (v² − u²)^] of the modes kept, from the pair
        of products; zero at the Nyquist modes."""
