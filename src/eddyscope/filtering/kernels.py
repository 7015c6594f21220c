"""Spectral filters: their transfer functions Ĝ(k) and the table of them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from eddyscope.config.case import Section
from eddyscope.spectral.grid import BOX

__all__ = ["FILTERS", "FilterSettings", "transfer_function"]


class FilterSettings(Section):
    """`[filter]`: from the DNS to the resolution of the LES."""

    kind: Literal["gaussian", "box", "sharp"] = "gaussian"
    """Shape of the filter; modes beyond each coarse grid are then cut off sharply."""
    n: list[int] = Field(default=[64], min_length=1)
    """Modes a direction of each coarse grid (even)."""
    width: float = Field(default=2.0, gt=0.0)
    """Filter width Δ in spacings of the coarse grid."""
    precision: Literal["float32", "float64"] = "float32"
    """Precision of the dataset's fields."""
    full_fields: bool = False
    """Also write the unfiltered vorticity on the n × n points of the DNS, group `full/`."""

    @field_validator("n")
    @classmethod
    def _grids(cls, grids: list[int]) -> list[int]:
        for n in grids:
            if n % 2 or n < 4:
                raise ValueError(f"n = {n}: every coarse grid must be even and at least 4")
        if len(set(grids)) != len(grids):
            raise ValueError("names a coarse grid twice; give each once")
        return sorted(grids)

    def delta(self, n: int) -> float:
        """The filter width Δ on the coarse grid of n points."""
        return self.width * BOX / n


def gaussian(kx: NDArray[Any], ky: NDArray[Any], width: float) -> NDArray[np.float64]:
    """exp(−k²Δ²/24): a Gaussian with the second moment of the box of side Δ."""
    factor: NDArray[np.float64] = np.exp(-(kx * kx + ky * ky) * (width**2 / 24.0))
    return factor


def box(kx: NDArray[Any], ky: NDArray[Any], width: float) -> NDArray[np.float64]:
    """Mean over a square of side Δ: sin(kxΔ/2)/(kxΔ/2) · sin(kyΔ/2)/(kyΔ/2)."""
    to_sinc = width / (2.0 * np.pi)  # numpy's sinc has π in it
    factor: NDArray[np.float64] = np.sinc(kx * to_sinc) * np.sinc(ky * to_sinc)
    return factor


def sharp(kx: NDArray[Any], ky: NDArray[Any], width: float) -> NDArray[np.float64]:
    """1 where |kx| and |ky| are below π/Δ, else 0: with Δ of one spacing, all coarse modes."""
    cut = np.pi / width * (1.0 - 1e-12)
    return np.asarray((np.abs(kx) < cut) & (np.abs(ky) < cut), dtype=np.float64)


FILTERS = {"gaussian": gaussian, "box": box, "sharp": sharp}
"""Name -> Ĝ(kx, ky) of width Δ."""


def transfer_function(
    settings: FilterSettings, n: int, kx: NDArray[Any], ky: NDArray[Any]
) -> NDArray[np.float64]:
    """Ĝ(kx, ky) of the filter of coarse grid `n`."""
    return FILTERS[settings.kind](kx, ky, settings.delta(n))
