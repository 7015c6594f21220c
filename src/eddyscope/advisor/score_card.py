"""How good advice was, once every layer has been re-trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

__all__ = ["Card", "card_of", "controls", "measured_ranking", "spearman"]

Card = dict[str, float | None]
"""`spearman`: rank correlation of predicted and measured order (None for fewer than two layers).
`regret_mse`: error of the layer put first over the least error of any layer, minus 1.
`regret_spectrum`: the same with the spectrum error and its least."""


def measured_ranking(errors: Mapping[str, float]) -> list[str]:
    """Layers by the error after their re-training, the best first."""
    return sorted(errors, key=lambda name: (errors[name], name))


def spearman(predicted: Sequence[str], measured: Sequence[str]) -> float | None:
    """Spearman's rank correlation of two orders of the same things; None for fewer than two."""
    count = len(measured)
    if count < 2:
        return None
    place = {name: i for i, name in enumerate(predicted)}
    squares = sum((place[name] - i) ** 2 for i, name in enumerate(measured))
    return 1.0 - 6.0 * squares / (count * (count**2 - 1))


def card_of(
    predicted: Sequence[str], errors: Mapping[str, float], spectrum_errors: Mapping[str, float]
) -> Card:
    """The card of a ranking; layers that were not re-trained are left out of it."""
    ranking = [name for name in predicted if name in errors]
    first = ranking[0]
    return {
        "spearman": spearman(ranking, measured_ranking(errors)),
        "regret_mse": errors[first] / min(errors.values()) - 1.0,
        "regret_spectrum": spectrum_errors[first] / min(spectrum_errors.values()) - 1.0,
    }


def controls(errors: Mapping[str, float], spectrum_errors: Mapping[str, float]) -> dict[str, Card]:
    """Cards of advice that needs no data: shallow layers first, deep ones first, any at random.

    The random one's regrets are means over all layers, its rank correlation 0.
    """
    shallow_first = sorted(errors)
    return {
        "first_layer": card_of(shallow_first, errors, spectrum_errors),
        "last_layer": card_of(shallow_first[::-1], errors, spectrum_errors),
        "random": {
            "spearman": 0.0 if len(errors) > 1 else None,
            "regret_mse": fmean(errors.values()) / min(errors.values()) - 1.0,
            "regret_spectrum": fmean(spectrum_errors.values()) / min(spectrum_errors.values())
            - 1.0,
        },
    }
