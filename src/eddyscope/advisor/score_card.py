"""How good advice was, once every layer has been re-trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from eddyscope.artefacts.uncertainty import (
    bounds,
    draws,
    rank_correlations,
    resampled,
    tied_groups,
)
from eddyscope.config.arrays import FloatArray

__all__ = ["Measured", "ScoreCard", "card_of", "controls", "measured", "measured_ranking"]

ScoreCard = dict[str, float | None]
"""How well a score foretold the errors that re-training left.

`spearman`: rank correlation of the order by score and that by error; layers that a score does not
tell apart, and layers that are tied by their errors, share their mean rank. None where there is no
order to compare: fewer than two layers, or all equal on one side. `spearman_low`, `spearman_high`:
95 % of draws lie between them; a single draw has no ties, so that `spearman` may lie outside.
`regret_mse`: error of the layer put first over the least error of any layer, minus 1; the mean
over all layers that share the first place. None where the least error is 0 and this is not.
`regret_low`, `regret_high`: its 95 % interval, over paired draws. `first_is_tied`: 1 where all
layers put first are tied with that of the least error, else 0.
`regret_spectrum`: the same with the spectrum error and its least; None where that is not known.
What is drawn, and what is tied: `artefacts/uncertainty.py`.
"""


@dataclass(frozen=True)
class Measured:
    """The order of layers by the errors that re-training left, and how sure it is."""

    groups: Sequence[Sequence[str]]
    """Layers, the least error first, in groups of ties."""
    drawn: Mapping[str, FloatArray] = field(default_factory=dict)
    """Layer -> its mean error in each draw; empty where nothing can be resampled."""

    @property
    def ceiling(self) -> float | None:
        """Mean rank correlation of the orders in two draws: what no score can be expected to
        exceed. None where nothing can be resampled, or there is no order."""
        if len(self.drawn) < 2:
            return None
        table = np.stack(list(self.drawn.values()), axis=1)
        half = len(table) // 2
        found = rank_correlations(table[:half], table[half : 2 * half])
        return float(found.mean()) if np.isfinite(found).all() else None


def measured(tables: Mapping[str, FloatArray]) -> Measured:
    """The order of layers of their errors, layer -> (repeat, member)."""
    known = any(resampled(values) for values in tables.values())
    drawn = {name: draws(values) for name, values in tables.items()} if known else {}
    finite = {name: values for name, values in drawn.items() if np.isfinite(values).all()}
    return Measured(tied_groups(tables), finite)


def measured_ranking(errors: Mapping[str, float]) -> list[str]:
    """Layers by the error after their re-training, the best first; equals by name, and what is not
    finite last."""
    return sorted(errors, key=lambda name: (not math.isfinite(errors[name]), errors[name], name))


def card_of(
    groups: Sequence[Sequence[str]],
    errors: Mapping[str, float],
    spectrum_errors: Mapping[str, float],
    order: Measured | None = None,
) -> ScoreCard:
    """The card of a ranking: groups of layers that a score does not tell apart, the best first.

    errors: of the layers that were re-trained, at least one; others are left out of the ranking.
    order: theirs; by default that of the errors as they are.
    """
    order = order or measured({name: np.array([[error]]) for name, error in errors.items()})
    kept = [[name for name in group if name in errors] for group in groups]
    ranked = [group for group in kept if group]
    low, high = _between(_correlations(ranked, order))
    regret_low, regret_high = _between(_regrets(ranked[0], errors, order))
    return {
        "spearman": _spearman(ranked, order.groups),
        "spearman_low": low,
        "spearman_high": high,
        "regret_mse": _regret(ranked[0], errors),
        "regret_low": regret_low,
        "regret_high": regret_high,
        "first_is_tied": float(set(ranked[0]) <= set(order.groups[0])),
        "regret_spectrum": _regret(ranked[0], spectrum_errors),
    }


def controls(
    errors: Mapping[str, float],
    spectrum_errors: Mapping[str, float],
    order: Measured | None = None,
) -> dict[str, ScoreCard]:
    """Cards of advice that needs no data: shallow layers first, deep ones first, any at random.

    errors: in the order of the network. The random one's regrets are means over all layers,
    its rank correlation is 0.
    """
    one_by_one = [[name] for name in errors]
    at_random = card_of([list(errors)], errors, spectrum_errors, order)
    return {
        "first_layer": card_of(one_by_one, errors, spectrum_errors, order),
        "last_layer": card_of(one_by_one[::-1], errors, spectrum_errors, order),
        "random": {**at_random, "spearman": 0.0 if len(set(errors.values())) > 1 else None},
    }


def _places(groups: Sequence[Sequence[str]]) -> dict[str, float]:
    """Layer -> place of its group."""
    return {name: float(place) for place, group in enumerate(groups) for name in group}


def _spearman(groups: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> float | None:
    foretold, places = _places(groups), _places(found)
    pairs = np.array([[foretold[name], places[name]] for name in foretold if name in places])
    if len(pairs) < 2:
        return None
    rho = float(rank_correlations(pairs[None, :, 0], pairs[None, :, 1])[0])
    return rho if math.isfinite(rho) else None


def _correlations(groups: Sequence[Sequence[str]], order: Measured) -> FloatArray:
    """ρ of a ranking with the order of each draw, (draw,); empty where that is not known."""
    places = {name: place for name, place in _places(groups).items() if name in order.drawn}
    if len(places) < 2 or len(set(places.values())) < 2:
        return np.empty(0)
    table = np.stack([order.drawn[name] for name in places], axis=1)
    foretold = np.broadcast_to(np.array(list(places.values())), table.shape)
    return rank_correlations(foretold, table)


def _regrets(first: Sequence[str], errors: Mapping[str, float], order: Measured) -> FloatArray:
    """Regret in each draw against the layer of the least mean error, (draw,); likewise."""
    best = order.groups[0][0]
    least = errors[best]
    if not {best, *first} <= order.drawn.keys() or not least > 0.0:
        return np.empty(0)
    chosen = np.mean([order.drawn[name] for name in first], axis=0)
    return np.asarray((chosen - order.drawn[best]) / least)


def _between(drawn: FloatArray) -> tuple[float | None, float | None]:
    ends = bounds(drawn) if len(drawn) else None
    return ends if ends else (None, None)


def _regret(first: Sequence[str], errors: Mapping[str, float]) -> float | None:
    if not errors:
        return None
    least = min(errors.values())
    chosen = fmean(errors[name] for name in first)
    if chosen == least:
        return 0.0
    return chosen / least - 1.0 if least > 0 and math.isfinite(chosen) else None
