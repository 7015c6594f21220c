"""Settings of the advice. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from eddyscope.advisor.scores.registry import SCORES
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.config.registry import Choice

__all__ = ["AdviseSettings"]

USUAL = ("probe", "relative_gradient")
"""Scores that a case has by default; others cost more."""

BY_DEFAULT = 16
"""Samples that scores look at, at the most."""


class AdviseSettings(Section):
    """`[advise]`: scores that rank the layers from a few target samples, before re-training."""

    samples: int | None = Field(default=None, ge=1)
    """Target samples, the first of those that `transfer` uses; by default all of those, but
    no more than 16."""
    scores: list[Annotated[Any, Choice(SCORES)]] = Field(
        default=[SCORES.settings(name) for name in USUAL], min_length=1
    )
    """As in ["relative_gradient", {kind = "linearised_gain", iterations = 60}]."""
    default_score: str = "probe"
    """The score whose ranking is given as the advice; among `scores`."""

    def samples_of(self, transfer_samples: int) -> int:
        """How many samples scores look at, of the `transfer_samples` that re-training uses."""
        return min(BY_DEFAULT, transfer_samples) if self.samples is None else self.samples

    def check_samples(self, transfer_samples: int) -> None:
        """Raise CaseError where scores are to look at more samples than re-training uses."""
        if self.samples is not None and self.samples > transfer_samples:
            raise CaseError(
                f"advise.samples = {self.samples}, but scores look at the samples that transfer "
                f"uses, and transfer.samples = {transfer_samples}; lower advise.samples, or raise "
                "transfer.samples"
            )

    @property
    def score_names(self) -> list[str]:
        """Names of the scores, in their order."""
        return [score.kind for score in self.scores]

    @model_validator(mode="after")
    def _names_a_score(self) -> AdviseSettings:
        names = self.score_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"advise.scores has {twice[0]!r} more than once; name each once")
        if self.default_score not in names:
            hint = did_you_mean(self.default_score, names)
            raise ValueError(
                f"advise.default_score = {self.default_score!r} is not among advise.scores = "
                f"{names}; {hint + ' or ' if hint else ''}add it there, or choose another"
            )
        return self
