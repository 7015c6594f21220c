"""How good advice was, once every layer has been re-trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from scipy.stats import spearmanr

__all__ = ["ScoreCard", "card_of", "controls", "measured_ranking"]

ScoreCard = dict[str, float | None]
"""How well a score foretold the errors that re-training left.

`spearman`: rank correlation of the order by score and that by error, equals with their mean
rank; None where there is no order to compare: fewer than two layers, or all equal on one side.
`regret_mse`: error of the layer put first over the least error of any layer, minus 1; the mean
over all layers that share the first place. None where the least error is 0 and this is not.
`regret_spectrum`: the same with the spectrum error and its least; None where that is not known.
"""


def measured_ranking(errors: Mapping[str, float]) -> list[str]:
    """Layers by the error after their re-training, the best first; equals by name."""
    return sorted(errors, key=lambda name: (errors[name], name))


def card_of(
    groups: Sequence[Sequence[str]],
    errors: Mapping[str, float],
    spectrum_errors: Mapping[str, float],
) -> ScoreCard:
    """The card of a ranking: groups of layers that a score does not tell apart, the best first.

    errors: of the layers that were re-trained, at least one; others are left out of the ranking.
    """
    kept = [[name for name in group if name in errors] for group in groups]
    ranked = [group for group in kept if group]
    return {
        "spearman": _spearman(ranked, errors),
        "regret_mse": _regret(ranked[0], errors),
        "regret_spectrum": _regret(ranked[0], spectrum_errors),
    }


def controls(
    errors: Mapping[str, float], spectrum_errors: Mapping[str, float]
) -> dict[str, ScoreCard]:
    """Cards of advice that needs no data: shallow layers first, deep ones first, any at random.

    errors: in the order of the network. The random one's regrets are means over all layers,
    its rank correlation is 0.
    """
    one_by_one = [[name] for name in errors]
    at_random = card_of([list(errors)], errors, spectrum_errors)
    return {
        "first_layer": card_of(one_by_one, errors, spectrum_errors),
        "last_layer": card_of(one_by_one[::-1], errors, spectrum_errors),
        "random": {**at_random, "spearman": 0.0 if len(set(errors.values())) > 1 else None},
    }


def _spearman(groups: Sequence[Sequence[str]], errors: Mapping[str, float]) -> float | None:
    places = [place for place, group in enumerate(groups) for _ in group]
    measured = [errors[name] for group in groups for name in group]
    if len(set(places)) < 2 or len(set(measured)) < 2:
        return None
    return float(spearmanr(places, measured).statistic)


def _regret(first: Sequence[str], errors: Mapping[str, float]) -> float | None:
    if not errors:
        return None
    least = min(errors.values())
    chosen = fmean(errors[name] for name in first)
    if chosen == least:
        return 0.0
    return chosen / least - 1.0 if least > 0 and math.isfinite(chosen) else None
