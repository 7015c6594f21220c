"""Forcings f of the vorticity equation (which has −f on its right-hand side), and their table."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from eddyscope.config.case import CaseError, Section
from eddyscope.config.registry import Registry
from eddyscope.spectral.transform import Transform

__all__ = ["FORCINGS", "Deterministic", "NoForcing"]


class NoForcing:
    """f = 0."""

    class Settings(Section):
        kind: Literal["none"] = "none"

    def __init__(self, settings: Settings, transform: Transform, response: Any = 1.0):
        pass

    def add(self, out: NDArray[Any], time: float, step: int, factor: Any) -> None:
        """out += factor · f̂; factor broadcasts to the modes' axes (1, 1, kx, ky)."""


class Deterministic:
    """f = A [cos(k_f x) + cos(k_f y)], steady; either component may be left out."""

    class Settings(Section):
        kind: Literal["deterministic"] = "deterministic"
        wavenumber: int = Field(ge=1)
        """k_f."""
        components: list[Literal["x", "y"]] = Field(default=["x", "y"])
        """Which of cos(k_f x) and cos(k_f y) act."""
        amplitude: float | None = None
        """A; by default the wavenumber."""

        @field_validator("components")
        @classmethod
        def _some(cls, components: list[str]) -> list[str]:
            if not components or len(set(components)) != len(components):
                raise ValueError('give "x", "y" or both, each once; for none set kind = "none"')
            return components

    def __init__(self, settings: Settings, transform: Transform, response: Any = 1.0):
        k = settings.wavenumber
        if k > transform.grid.k_max:
            raise CaseError(
                f"forcing.wavenumber = {k} is not resolved: a grid of n = {transform.grid.n} keeps "
                f"wavenumbers up to {transform.grid.k_max}; use a larger n or a smaller wavenumber"
            )
        amplitude = float(k) if settings.amplitude is None else settings.amplitude
        kx, ky = transform.kx, transform.ky
        # cos has two modes of half its amplitude; those with kx < 0 are not stored.
        along_x = (np.abs(kx) == k) & (ky == 0) & ("x" in settings.components)
        along_y = (kx == 0) & (np.abs(ky) == k) & ("y" in settings.components)
        self._modes = np.nonzero((along_x | along_y)[0, 0])
        strength = np.broadcast_to(
            0.5 * amplitude * np.asarray(response), (1, 1, *along_x.shape[2:])
        )
        self._f_hat = strength[0, 0][self._modes].astype(transform.grid.real)

    def add(self, out: NDArray[Any], time: float, step: int, factor: Any) -> None:
        """out += factor · f̂, at the few modes that are forced."""
        kx, ky = self._modes
        at_modes = factor[0, 0, kx, ky] if np.ndim(factor) else factor
        out[:, 0, kx, ky] += at_modes * self._f_hat


FORCINGS: Registry[Any] = Registry("forcing", {"none": NoForcing, "deterministic": Deterministic})
