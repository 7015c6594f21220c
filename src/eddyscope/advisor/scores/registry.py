"""The scores that `advise.scores` may name. Imports no torch."""

from __future__ import annotations

from eddyscope.advisor.scores.base import Score
from eddyscope.advisor.scores.linearised_gain import LinearisedGain
from eddyscope.advisor.scores.probe import Probe
from eddyscope.advisor.scores.relative_gradient import RelativeGradient
from eddyscope.config.registry import Registry

__all__ = ["SCORES"]

SCORES: Registry[Score] = Registry(
    "score",
    {"probe": Probe, "relative_gradient": RelativeGradient, "linearised_gain": LinearisedGain},
)
