"""Spectral filters: their responses Ĝ(k) and the table of them."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import Field, field_validator

from eddyscope.config.arrays import FloatArray, RealArray
from eddyscope.config.case import Section
from eddyscope.config.registry import Registry
from eddyscope.config.units import Unit
from eddyscope.spectral.grid import BOX

__all__ = ["FILTERS", "Box", "Filter", "FilterSettings", "Gaussian", "Sharp"]


class FilterSettings(Section):
    """`[filter]`: from the DNS to the resolution of the LES. Modes beyond each coarse grid are cut
    off sharply, whatever the filter's kind."""

    n: list[int] = Field(default=[64], min_length=1)
    """Modes a direction of each coarse grid (even)."""
    width: Annotated[float, Unit("coarse spacings")] = Field(default=2.0, gt=0.0)
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


class Filter(Protocol):
    """The filter of one coarse grid; made from (settings, n), n its modes a direction."""

    def response(self, kx: RealArray, ky: RealArray) -> FloatArray:
        """Ĝ(kx, ky), of which Ĝ(0, 0) = 1."""


class Gaussian:
    """exp(−k²Δ²/24): a Gaussian with the second moment of the box of side Δ."""

    class Settings(FilterSettings):
        kind: Literal["gaussian"] = "gaussian"

    def __init__(self, settings: Settings, n: int):
        self.width = settings.delta(n)

    def response(self, kx: RealArray, ky: RealArray) -> FloatArray:
        factor: FloatArray = np.exp(-(kx * kx + ky * ky) * (self.width**2 / 24.0))
        return factor


class Box:
    """Mean over a square of side Δ: sin(kxΔ/2)/(kxΔ/2) · sin(kyΔ/2)/(kyΔ/2)."""

    class Settings(FilterSettings):
        kind: Literal["box"] = "box"

    def __init__(self, settings: Settings, n: int):
        self.width = settings.delta(n)

    def response(self, kx: RealArray, ky: RealArray) -> FloatArray:
        to_sinc = self.width / (2.0 * np.pi)  # numpy's sinc has π in it
        factor: FloatArray = np.sinc(kx * to_sinc) * np.sinc(ky * to_sinc)
        return factor


class Sharp:
    """1 where |kx| and |ky| are below π/Δ, else 0: with Δ of one spacing, all coarse modes."""

    class Settings(FilterSettings):
        kind: Literal["sharp"] = "sharp"

    def __init__(self, settings: Settings, n: int):
        self.width = settings.delta(n)

    def response(self, kx: RealArray, ky: RealArray) -> FloatArray:
        cut = np.pi / self.width * (1.0 - 1e-12)
        return np.asarray((np.abs(kx) < cut) & (np.abs(ky) < cut), dtype=np.float64)


FILTERS: Registry[Filter] = Registry("filter", {"gaussian": Gaussian, "box": Box, "sharp": Sharp})
