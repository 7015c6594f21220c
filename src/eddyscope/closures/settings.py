"""Settings of large-eddy simulation. Imports no torch."""

from __future__ import annotations

from pydantic import Field, field_validator

from eddyscope.config.case import Section

__all__ = ["LesSettings"]


class LesSettings(Section):
    """`[les]`: closures run back in the solver at the filter's resolution."""

    closures: list[str] = ["none", "base", "best"]
    """"none", or names of models ("base", "l02", "all", …); "best" is the best single layer."""
    duration: float = Field(default=10.0, gt=0.0)
    """Time simulated, from the first sample of each test member of the target."""
    dt: float | None = Field(default=None, gt=0.0)
    """Time step; by default that of the DNS."""
    interval: float | None = Field(default=None, gt=0.0)
    """Time between samples of the statistics; by default that of the target's dataset."""

    @field_validator("closures")
    @classmethod
    def _each_once(cls, closures: list[str]) -> list[str]:
        if not closures or len(set(closures)) != len(closures):
            raise ValueError("name at least one closure, and each once")
        return closures
