"""Fourier grids on the doubly periodic box 2π × 2π.

`n` (even) modes a direction: |k| < n/2 are kept and the Nyquist modes carry nothing.
Products are formed on the product grid, the next FFT-friendly even integer ≥ dealias·n.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from eddyscope.config.case import Section

__all__ = ["BOX", "Grid", "GridSettings", "friendly_even"]

BOX = 2.0 * np.pi
"""Length of the box's side."""


class GridSettings(Section):
    """`[grid]`: the resolution of the direct numerical simulation."""

    n: int = Field(ge=8, le=2**17)
    """Fourier modes a direction (even)."""
    dealias: float = Field(default=1.5, ge=1.5, le=4.0)
    """Product grid points a mode; 3/2 is the least that leaves a quadratic product exact."""
    precision: Literal["float64", "float32"] = "float64"
    """Working precision of the solver."""

    @field_validator("n")
    @classmethod
    def _even(cls, n: int) -> int:
        if n % 2:
            raise ValueError(f"must be even; use {n - 1} or {n + 1}")
        return n


@dataclass(frozen=True)
class Grid:
    """A square Fourier grid; everything else follows from these three."""

    n: int
    dealias: float = 1.5
    precision: str = "float64"

    @classmethod
    def of(cls, settings: GridSettings) -> Grid:
        return cls(settings.n, settings.dealias, settings.precision)

    @cached_property
    def n_product(self) -> int:
        """Points a direction of the grid on which products are formed."""
        return friendly_even(self.dealias * self.n)

    @property
    def k_max(self) -> int:
        """The largest wavenumber kept in each direction."""
        return self.n // 2 - 1

    @property
    def n_shells(self) -> int:
        """Shells k = 1 … n/2 - 1 of the isotropic spectra (corners beyond are left out)."""
        return self.n // 2 - 1

    @property
    def spacing(self) -> float:
        return BOX / self.n

    @property
    def real(self) -> np.dtype[np.floating]:
        return np.dtype(self.precision)

    @property
    def complex(self) -> np.dtype[np.complexfloating]:
        return np.dtype("complex128" if self.precision == "float64" else "complex64")


def friendly_even(least: float) -> int:
    """The smallest even integer ≥ `least` with no prime factor above 7."""
    n = int(np.ceil(least - 1e-9))
    n += n % 2
    while not _is_smooth(n):
        n += 2
    return n


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1
