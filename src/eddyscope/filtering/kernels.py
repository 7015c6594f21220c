"""Spectral filters: their transfer functions Ĝ(k) and the table of them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from eddyscope.config.case import Section
from eddyscope.spectral.grid import BOX

__all__ = ["FilterSettings", "transfer_function"]


class FilterSettings(Section):
    """`[filter]`: from the DNS to the resolution of the LES."""

    kind: Literal["gaussian"] = "gaussian"
    """Shape of the filter; modes beyond each coarse grid are then cut off sharply."""
    n: list[int] = Field(default=[64], min_length=1)
    """Modes a direction of each coarse grid (even)."""
    width: float = Field(default=2.0, gt=0.0)
    """Filter width Δ in spacings of the coarse grid."""
    precision: Literal["float32", "float64"] = "float32"
    """Precision of the dataset's fields."""

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


def transfer_function(
    settings: FilterSettings, n: int, kx: NDArray[Any], ky: NDArray[Any]
) -> NDArray[np.float64]:
    """Ĝ(kx, ky) of the filter of coarse grid `n`: exp(-k²Δ²/24) for the Gaussian."""
    k2 = kx * kx + ky * ky
    factor: NDArray[np.float64] = np.exp(-k2 * (settings.delta(n) ** 2 / 24.0))
    return factor
