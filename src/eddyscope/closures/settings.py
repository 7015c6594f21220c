"""Settings of large-eddy simulation. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from eddyscope.closures.base import FILE_NAME
from eddyscope.closures.learned import Learned
from eddyscope.closures.none import Nothing
from eddyscope.closures.registry import CLOSURES
from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.registry import Choice
from eddyscope.config.units import TIME

__all__ = ["LesSettings"]

RESERVED = "dns"
"""Name of the filtered direct simulation among the outputs."""


class LesSettings(Section):
    """`[les]`: closures run back in the solver at the filter's resolution."""

    # Each closure's run is a result of its own: one more leaves the others as they are.
    closures: Annotated[list[Annotated[Any, Choice(CLOSURES)]], CHANGES_NO_RESULT] = Field(
        default=[
            Nothing.Settings(),
            Learned.Settings(model="base"),
            Learned.Settings(model="best"),
        ],
        min_length=1,
    )
    """Closures, as tables or plain names: "none", {kind = "learned", model = "l02"}; a name that
    is no kind of closure is that of a model: "base", "l02", "all", …, or "best", the best single
    layer."""
    duration: Annotated[float, TIME] = Field(default=10.0, gt=0.0)
    """Time simulated, from the first sample of each test member of the target."""
    dt: Annotated[float | None, TIME] = Field(default=None, gt=0.0)
    """Time step; by default that of the DNS."""
    interval: Annotated[float | None, TIME] = Field(default=None, gt=0.0)
    """Time between samples of the statistics; by default that of the target's dataset."""

    @field_validator("closures", mode="before")
    @classmethod
    def _names_of_models(cls, closures: Any) -> Any:
        """Plain names that are no kind of closure, as models."""
        if not isinstance(closures, list):
            return closures
        return [
            {"kind": "learned", "model": name}
            if isinstance(name, str) and name not in CLOSURES.entries
            else name
            for name in closures
        ]

    @field_validator("closures")
    @classmethod
    def _each_once(cls, closures: list[Any]) -> list[Any]:
        names = [closure.text for closure in closures]
        for name in names:
            if name == RESERVED or not FILE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a closure's output; choose another")
            if names.count(name) > 1:
                raise ValueError(f"names {name} twice; name each once")
        return closures
