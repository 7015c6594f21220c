"""Settings of the advice. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from eddyscope.config.case import Section

__all__ = ["AdviseSettings"]


class AdviseSettings(Section):
    """`[advise]`: scores that rank the layers from a few target samples, before re-training."""

    samples: int = Field(default=4, ge=1)
    """Target samples, the first of those that `transfer` would use."""
    scores: list[Literal["relative_gradient", "linearised_gain"]] = [
        "relative_gradient",
        "linearised_gain",
    ]
    default_score: Literal["relative_gradient", "linearised_gain"] = "linearised_gain"
    """The score whose ranking is given as the advice."""
    iterations: int = Field(default=30, ge=1)
    """Conjugate-gradient iterations of the linearised fit of each layer."""
