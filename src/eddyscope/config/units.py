"""Units of settings, for the reference of all settings (`config/reference.py`).

    seconds: Annotated[float, Unit("s")] = 60.0

What has no unit is a number of things, a ratio or a name. Flows have units of their own: the box
is 2π long, and velocity and time are in the units in which the equation of `flows/base.py` holds.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LENGTH", "SECONDS", "TIME", "Unit"]


@dataclass(frozen=True)
class Unit:
    """Annotation of a settings field: the unit of its value."""

    name: str


SECONDS = Unit("s")
"""Of the clock on the wall."""

TIME = Unit("T")
"""Of the flow's time."""

LENGTH = Unit("L")
"""Of the flow's lengths: the box is 2π of it long, and wavenumbers are in its inverse."""
