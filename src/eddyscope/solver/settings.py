"""Settings of time stepping."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from eddyscope.config.case import Section
from eddyscope.config.registry import Choice
from eddyscope.config.units import TIME
from eddyscope.solver.schemes.ifrk3 import RungeKutta3
from eddyscope.solver.schemes.registry import SCHEMES

__all__ = ["TimeSettings"]


class TimeSettings(Section):
    """`[time]`: how the flow is advanced; give dt, or cfl with a scheme whose step may change."""

    ALTERNATIVES = (("dt", "cfl"),)

    scheme: Annotated[Any, Choice(SCHEMES)] = RungeKutta3.Settings()
    """ "ifrk3": third-order Runge–Kutta with exact linear terms; "ab2cn", as the paper has it:
    Adams–Bashforth 2 for advection, Crank–Nicolson for viscosity, implicit Euler for drag. At
    equal error a turnover time costs less with ifrk3 (`jobs/bench/schemes.py`)."""
    dt: Annotated[float | None, TIME] = Field(default=None, gt=0.0)
    """Time step, where it is fixed."""
    cfl: float | None = Field(default=None, ge=1e-6, le=0.5)
    """Steps of at most cfl · Δx / max(|u| + |v|), Δx = 2π/n, where they adapt; ifrk3 is stable
    up to √3/π = 0.55. Such steps end at each record and sample, so other times of sampling are
    other steps, and the solution differs by the scheme's own error (some 1e-5 at cfl = 0.5); with
    dt it does not depend on them at all."""

    @model_validator(mode="after")
    def _one_of_two(self) -> TimeSettings:
        if (self.dt is None) == (self.cfl is None):
            raise ValueError("give either dt (a fixed step) or cfl (steps that adapt), not both")
        if self.cfl is not None and not SCHEMES[self.scheme.kind].may_adapt:
            able = ", ".join(f'"{name}"' for name in SCHEMES if SCHEMES[name].may_adapt)
            raise ValueError(f"cfl needs scheme = {able}: {self.scheme.kind} is for a fixed dt")
        return self
