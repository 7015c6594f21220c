"""Why a ranking is what it is, in a few words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eddyscope.advisor.ranking import Ranking
from eddyscope.advisor.scores.base import Score
from eddyscope.config.words import listed

__all__ = ["reason"]


def reason(name: str, score: Score, ranking: Ranking, samples: int) -> str:
    """Which layers come first and last by the score called `name`, and which it does not
    tell apart."""
    groups = [group for group in ranking.groups if _is_known(ranking, group)]
    unknown = [group for group in ranking.groups if not _is_known(ranking, group)]
    by = f"By {name} ({score.measures}) on {samples} target sample(s)"
    undefined = f" It is not defined for {listed(unknown[0])}." if unknown else ""
    if not groups:
        return f"{name} is not defined for any layer: it gives no advice."

    def told(group: Sequence[str]) -> str:
        return f"{listed(group)} ({format(ranking.values[group[0]], score.number_format)})"

    if len(groups) == 1:
        alone = len(groups[0]) == 1
        words = "is the only layer" if alone else "are equal: the score does not tell them apart"
        return f"{by}, {told(groups[0])} {words}.{undefined}"
    best, second, last = groups[0], groups[1], groups[-1]
    words = f"{told(best)} {_verb(best)} first"
    if len(groups) > 2:
        words += f", before {told(second)}"
    return f"{by}, {words}; {told(last)} {_verb(last)} last.{_equals(ranking)}{undefined}"


def _is_known(ranking: Ranking, group: Sequence[str]) -> bool:
    return math.isfinite(ranking.values[group[0]])


def _verb(group: Sequence[str]) -> str:
    return "comes" if len(group) == 1 else "come"


def _equals(ranking: Ranking) -> str:
    known = [listed(group) for group in ranking.ties if _is_known(ranking, group)]
    return f" It does not tell apart {'; nor '.join(known)}." if known else ""
