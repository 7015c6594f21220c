"""Why a ranking is what it is, in a few words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eddyscope.advisor.ranking import Ranking
from eddyscope.advisor.scores.base import Score
from eddyscope.config.words import listed

__all__ = ["reason"]


def reason(
    name: str,
    score: Score,
    ranking: Ranking,
    samples: int,
    paths: Mapping[str, str] | None = None,
) -> str:
    """Which layers come first and last by the score called `name`, and which it does not
    tell apart; or that it gives no advice, and why.

    paths: layer -> what its user calls it, where that is another name.
    """
    groups = [group for group in ranking.groups if _is_known(ranking, group)]
    unknown = [group for group in ranking.groups if not _is_known(ranking, group)]
    counted = f"{samples} target sample{'s' if samples > 1 else ''}"
    by = f"By {name} ({score.measures}) on {counted}"
    undefined = f" It is not defined for {listed(unknown[0])}." if unknown else ""
    if not groups:
        return f"{name} is not defined for any layer: it gives no advice."

    known = paths or {}

    def told(group: Sequence[str]) -> str:
        names = [f"{layer} {known[layer]}" if layer in known else layer for layer in group]
        return f"{listed(names)} ({format(ranking.values[group[0]], score.number_format)})"

    if len(groups) == 1:
        if len(groups[0]) == 1:
            return f"{by}, {told(groups[0])} is the only layer.{undefined}"
        why = "promise nothing" if ranking.promises_nothing else _alike(ranking)
        return f"{by} there is no advice: {told(groups[0])} {why}.{undefined}"
    best, second, last = groups[0], groups[1], groups[-1]
    words = f"{told(best)} {_verb(best)} first"
    if len(groups) > 2:
        words += f", before {told(second)}"
    return f"{by}, {words}; {told(last)} {_verb(last)} last.{_equals(ranking)}{undefined}"


def _alike(ranking: Ranking) -> str:
    """What is said of layers that are all of one group."""
    differ = ranking.parts and len(set(ranking.values.values())) > 1
    return "are not told apart by these samples" if differ else "are equal"


def _is_known(ranking: Ranking, group: Sequence[str]) -> bool:
    return math.isfinite(ranking.values[group[0]])


def _verb(group: Sequence[str]) -> str:
    return "comes" if len(group) == 1 else "come"


def _equals(ranking: Ranking) -> str:
    known = [listed(group) for group in ranking.ties if _is_known(ranking, group)]
    return f" It does not tell apart {'; nor '.join(known)}." if known else ""
