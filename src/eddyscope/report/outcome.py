"""The report in words: whether re-training helped, which layer is best, what was predicted.

A sentence that lacks its facts says which are missing instead of leaving a hole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from eddyscope.artefacts.evaluation import THREE_SCALES, Card
from eddyscope.artefacts.key import BASE
from eddyscope.artefacts.les import FILTERED_DNS
from eddyscope.config.arrays import FloatArray
from eddyscope.report.comparison import (
    Comparison,
    compare,
    fixed,
    in_percent,
    in_words,
    less,
    listed,
    percent,
)
from eddyscope.report.les_figures import label, mean_over_runs, model_of
from eddyscope.report.results import Absent, Results
from eddyscope.report.setting import count

NOTHING = 0.9
"""Error from which on a model is called close to predicting nothing, which is 1."""

__all__ = ["Headline", "headlines", "outcome", "spectrum_factor"]


@dataclass(frozen=True)
class Headline:
    """A number to remember."""

    figure: str
    meaning: str


def outcome(results: Results) -> list[str]:
    """Whether re-training helped, which layer is best, and what was predicted."""
    parts: tuple[Callable[[Comparison], str], ...] = (
        _need,
        _renormalised,
        _helped,
        _beyond,
        _order,
        _lead,
        _predicted,
        _others,
        _floor,
    )
    try:
        compared = compare(results)
    except Absent as gap:
        return [f"Whether re-training helped cannot be said: {gap}.", *_in_the_loop(results)]
    sentences = dict.fromkeys(_or_why_not(part, compared) for part in parts)
    return [sentence for sentence in sentences if sentence] + _in_the_loop(results)


def _or_why_not(part: Callable[[Comparison], str], compared: Comparison) -> str:
    try:
        return part(compared)
    except Absent as gap:
        return f"Not known: {gap}."


def headlines(results: Results) -> list[Headline]:
    """The few numbers to remember. Empty if nothing was evaluated."""
    try:
        compared = compare(results)
        best = compared.best
        before, after = compared.error(BASE).mean, compared.error(best).mean
    except Absent:
        return []
    layers = count(len(compared.layers), "layer")
    found = [
        Headline(
            f"{before:.2f} → {after:.2f}",
            "error on the target, of the base model as it is and after re-training "
            f"{best} alone{_in_brackets(compared.removed(best))}",
        ),
        Headline("none", f"of {layers} is best: all leave the same error")
        if compared.all_alike and len(compared.layers) > 1
        else Headline(best, f"{_least(compared)} of {layers}{_but_tied(compared)}"),
    ]
    return found + _advice_headline(compared) + _floor_headlines(compared) + _les_headline(results)


def _least(compared: Comparison) -> str:
    on_tests = compared.best == compared.measured[0]
    return "left the least error" if on_tests else "left the least error on held-out samples"


def _but_tied(compared: Comparison) -> str:
    """What else may be the best."""
    return f"; not to be told from {listed(compared.ties)}" if compared.ties else ""


def _in_brackets(share: float) -> str:
    """ " (45 % less)" of a share of error removed; nothing if it is not known."""
    return f" ({less(share)})" if math.isfinite(share) else ""


def _advice_headline(compared: Comparison) -> list[Headline]:
    try:
        advice = compared.advice
    except Absent:
        return []
    layer = advice.first[0]
    if len(compared.layers) < 2:
        return []
    if not advice.tells:
        text = f"predicted beforehand: the score “{advice.words}” tells no layer from another"
        return [Headline("none", text)]
    if len(advice.first) > 1 or layer not in compared.layers:
        return []
    cost = percent(compared.excess(layer))
    text = f"predicted beforehand; following it leaves {cost} % more error than the best"
    if layer in compared.ties:
        text = f"{text}, no more than chance may give"
    return [Headline(layer, text)]


def _floor_headlines(compared: Comparison) -> list[Headline]:
    return [
        Headline(
            f"{compared.error(name).mean:.2f}",
            f"error with hardly any re-training: {compared.adapted[name].words}",
        )
        for name in compared.others("floor")
    ]


def _les_headline(results: Results) -> list[Headline]:
    """The best layer's closure against the base model's."""
    found = results.evaluation
    before = spectrum_factor(results, BASE)
    best = found.best if found is not None else None
    names = [name for name, run in results.les.items() if best and str(model_of(run)) == best]
    after = spectrum_factor(results, names[0]) if names else None
    if before is None or after is None:
        return []
    who = label(results, results.les[names[0]])
    text = (
        "factor by which energies by scale are off in a coarse simulation, with the base model and "
        f"with {who}"
    )
    return [Headline(f"{before:.2f} → {after:.2f}", text)]


def _need(compared: Comparison) -> str:
    words = f"the base model leaves an error of {in_words(compared.error(BASE))} on the target"
    if compared.on_base is not None:
        words += f", against {in_words(compared.on_base)} on its own flow"
    brackets = (
        f"in brackets: 95 % intervals, by resampling {compared.resampled}"
        if compared.resampled
        else f"no intervals: {compared.no_interval}"
    )
    return f"As it is, {words} (0 is perfect, 1 as bad as predicting nothing; {brackets})."


def _helped(compared: Comparison) -> str:
    best, share = compared.best, compared.removed(compared.best)
    left = in_words(compared.error(best))
    if not share > 0.0:
        return f"Re-training one layer did not help: the best, {best}, leaves {left}."
    words = f"Re-training {best} alone leaves {left}, {less(share)}"
    for name in compared.others("ceiling"):
        told = compared.adapted[name].words
        words += f"; re-training {told} leaves {in_words(compared.error(name))}"
    parts = (_if_at_all(compared), _run_by_run(compared), _not_worth_it(compared))
    return " ".join([f"{words}.", *filter(None, parts)])


def _if_at_all(compared: Comparison) -> str:
    """Said where the gain may be chance, or leaves next to nothing of use."""
    share, left = compared.error_removed.get(compared.best), compared.error(compared.best).mean
    told = []
    if share is not None and share.low is not None and share.low <= 0.0:
        told.append("The interval of that share includes 0, so it may be no gain at all.")
    if left >= NOTHING:
        told.append(f"An error of {fixed(left, 2)} is still close to that of predicting nothing.")
    return " ".join(told)


def _not_worth_it(compared: Comparison) -> str:
    """Said where the base model, normalised in another way, does no worse than the best layer."""
    least = compared.error(compared.best).mean
    ways = [way for way, error in compared.otherwise.items() if error.mean <= least]
    if not ways:
        return ""
    return f"The base model normalised by {' or '.join(ways)}, not re-trained, does no worse."


def _beyond(compared: Comparison) -> str:
    """What the best layer adds to one factor of each input and output."""
    if compared.repaired_by:
        words = compared.adapted[compared.repaired_by].words
        left = in_words(compared.error(compared.repaired_by))
        return (
            f"The target differs from the base by sizes at the most: {words}, fitted to the same "
            f"samples, leaves {left}, so there is nothing for a re-trained layer to add."
        )
    share = compared.beyond_scales.get(compared.best)
    if share is None or not math.isfinite(share.mean):
        return ""
    floor = (
        "Part of what re-training does may be to put sizes right. One factor of each input and of "
        f"each output, fitted to the same samples, leaves {in_words(compared.error(THREE_SCALES))}"
        f"{_part_of_gain(compared)}"
    )
    if not share.mean > 0.0:
        return f"{floor}: {compared.best}, the best layer, adds nothing to that."
    chance = share.low is not None and share.low <= 0.0
    return (
        f"{floor}; {compared.best}, the best layer, removes {in_percent(share)} of that"
        f"{', which may be chance' if chance else ''}."
    )


def _part_of_gain(compared: Comparison) -> str:
    """Which part of the best layer's gain three scales have."""
    scales, best = compared.removed(THREE_SCALES), compared.removed(compared.best)
    if not (scales > 0.0 and best > 0.0):
        return ""
    return f", {percent(scales / best)} % of what {compared.best} gains"


def _renormalised(compared: Comparison) -> str:
    """The base model under other normalisations."""
    told = [f"{in_words(error)} ({way})" for way, error in compared.otherwise.items()]
    if not told:
        return ""
    return (
        "With the target's fields normalised otherwise, the base model, not re-trained, leaves "
        f"{', '.join(told)}; re-trained models: {_ways_of_retrained(compared)}."
    )


def _ways_of_retrained(compared: Comparison) -> str:
    """As in "dimensional (scratch: target)"."""
    apart = [
        f"{name}: {way}"
        for name, way in compared.normalised.items()
        if name != BASE and way != compared.way
    ]
    return (compared.way or "none") + (f" ({', '.join(apart)})" if apart else "")


def _run_by_run(compared: Comparison) -> str:
    removed = compared.error_removed.get(compared.best)
    if removed is None or not math.isfinite(removed.mean):
        return ""
    if removed.least is None or removed.largest is None:
        return "This is of one test run, so how it varies from run to run is not known."
    low, high = percent(removed.least), percent(removed.largest)
    share = low if low == high else f"{low} to {high}"
    return (
        f"Run by run, {compared.best} removes {share} % of the base model's error "
        f"({compared.members} runs)."
    )


def _order(compared: Comparison) -> str:
    best, worst = compared.best, compared.measured[-1]
    if len(compared.layers) < 2:
        return f"Only {best} was re-trained alone, so layers cannot be compared."
    if compared.all_alike:
        return f"All {len(compared.layers)} layers leave the same error: none is better."
    excess = compared.excess(worst)
    more = f", {percent(excess)} % more error than {best}" if math.isfinite(excess) else ""
    return (
        f"{_best_of_all(compared)}; the worst, {worst}, leaves "
        f"{in_words(compared.error(worst))}{more}. In order: {', '.join(compared.measured)}."
    )


def _best_of_all(compared: Comparison) -> str:
    """The best layer, with what is tied with it; on the test runs another may leave less."""
    best, first = compared.best, compared.measured[0]
    words = f"The best layer is {best}"
    if best != first:
        words += (
            f", chosen by its error on target samples held out of re-training (on the test runs "
            f"{first} leaves the least, {in_words(compared.error(first))})"
        )
    if not compared.ties:
        return words
    group = [name for name in compared.measured if name in (best, *compared.ties)]
    why = (
        f"the 95 % intervals of their differences from {best}, run by run, include 0"
        if compared.resampled
        else "they leave the same error"
    )
    return f"{words}, but {listed(group)} cannot be told apart ({why})"


def _lead(compared: Comparison) -> str:
    """How sure it is that the best layer leads."""
    if len(compared.layers) < 2 or compared.all_alike:
        return ""
    if compared.ranks:
        return _chances(compared)
    rivals, runs = compared.rivals(), compared.members
    if runs == 1:
        return f"With one test run it cannot be said whether {compared.best} would lead on others."
    if not rivals:
        return f"{compared.best} left the least error on each of the {runs} test runs."
    told = ", ".join(f"{name} on {won}" for name, won in rivals)
    return (
        f"Some layers did as well as {compared.best} or better on single test runs of the {runs}: "
        f"{told}; on those runs {compared.best} does not lead."
    )


def _chances(compared: Comparison) -> str:
    """In which share of draws each layer comes first."""
    first = {name: ranks.probabilities[0] for name, ranks in compared.ranks.items()}
    told = sorted((n for n in first if first[n] >= 0.005), key=lambda n: (-first[n], n))
    words = ", ".join(f"{name} in {percent(first[name])} %" for name in told)
    return f"Over draws of {compared.resampled}, the least error of all layers is that of: {words}."


def _predicted(compared: Comparison) -> str:
    advice = compared.advice
    words = f"Before any re-training, the score “{advice.words}”"
    if not advice.tells:
        return f"{words} told no layer from another, so there was no advice. {compared.reason}"
    if len(advice.first) > 1:
        return f"{words} put {', '.join(advice.first)} first, without telling them apart."
    first = advice.first[0]
    words += f" put {first} first"
    if first not in compared.layers:
        return f"{words}, which was not re-trained."
    parts = [words + _cost(compared, first), _agreement(compared, advice.card)]
    return " ".join(part for part in [*parts, _without_advice(compared)] if part)


def _cost(compared: Comparison, first: str) -> str:
    """What following the advice would have cost."""
    if first == compared.best:
        return f", which is indeed the best{_but_tied(compared)}."
    if compared.rank(first) == 1:
        return ", which leaves the least error on the test runs."
    if first in compared.ties:
        error = percent(compared.excess(first))
        return (
            f", which cannot be told from the best, {compared.best}; on these test runs it leaves "
            f"{error} % more error than the best layer."
        )
    error = percent(compared.excess(first))
    words = f"; following it would have left {error} % more error than the best layer"
    if "spectrum_error" not in compared.target[first]:
        return f"{words}."
    spectrum = percent(compared.excess(first, "spectrum_error"))
    return f"{words} (and {spectrum} % more error of the spectrum than the best in that)."


def _agreement(compared: Comparison, card: Card) -> str:
    rho, low, high = (card.get(f"spearman{end}") for end in ("", "_low", "_high"))
    if rho is None:
        return ""
    words = (
        f"Its whole order agrees with the measured one with a rank correlation of {_minus(rho)} "
        "(1: the same order, 0: unrelated, −1: reversed; layers that are tied share their rank)."
    )
    if low is None or high is None or compared.ceiling is None:
        return words
    return (
        f"{words} With the order of single draws it is {_minus(low)} to {_minus(high)} (95 %), and "
        f"two draws agree with each other by {_minus(compared.ceiling)} on average: no score can "
        "be expected to do better."
    )


def _minus(number: float) -> str:
    return fixed(number, 2).replace("-", "−")


def _without_advice(compared: Comparison) -> str:
    """What habits that look at no data would have cost."""
    habits = {"first_layer": "the first layer", "last_layer": "the last", "random": "any at random"}
    costs = [
        f"{text} {percent(cost)} %"
        for name, text in habits.items()
        if (cost := compared.controls.get(name, {}).get("regret_mse")) is not None
    ]
    if not costs or len(compared.layers) < 2:
        return ""
    return f"Choosing without any advice would have left more error by: {', '.join(costs)}."


def _floor(compared: Comparison) -> str:
    """What needs hardly any re-training."""
    told = [_left(compared, name) for name in compared.others("floor")]
    if not told:
        return ""
    share = compared.removed(compared.best) if compared.measured else math.nan
    beside = f" ({compared.best} alone: {less(share)})" if math.isfinite(share) else ""
    return f"With hardly any re-training, against the base model: {'; '.join(told)}{beside}."


def _others(compared: Comparison) -> str:
    """What was re-trained beside single layers."""
    told = [_left(compared, name) for name in compared.others("layers", "control")]
    return f"Also re-trained, against the base model: {'; '.join(told)}." if told else ""


def _left(compared: Comparison, name: str) -> str:
    """ "gain (…) leaves 0.300 (0.290 to 0.310), 12 % less"."""
    share = compared.removed(name)
    words = f"{compared.described(name)} leaves {in_words(compared.error(name))}"
    return f"{words}, {less(share)}" if math.isfinite(share) else words


def _in_the_loop(results: Results) -> list[str]:
    """What closures did in a simulation: how many runs ended, how far their spectra are off."""
    closures = {name: run for name, run in results.les.items() if name != FILTERED_DNS}
    if not closures:
        return ["No closure was run back in a simulation (`eddyscope les`)."]
    told = [
        f"{label(results, run)}: {_ended(run)}{_spectrum_words(results, name)}"
        for name, run in closures.items()
    ]
    return [
        "Back in a coarse simulation of the target, runs that reached the end, and by what factor "
        "the energy at each scale is off on average (1 is perfect; a run that blew up counts for "
        f"as long as it lasted): {'; '.join(told)}."
    ]


def _ended(run: xr.Dataset) -> str:
    return f"{int(run['stable'].sum())} of {run['stable'].size}"


def _spectrum_words(results: Results, name: str) -> str:
    factor = spectrum_factor(results, name)
    return " (spectrum not compared)" if factor is None else f" ({factor:.2f})"


def spectrum_factor(results: Results, name: str) -> float | None:
    """exp⟨|ln(E/E_dns)|⟩ over wavenumbers of a closure; None if there is nothing to compare."""
    if FILTERED_DNS not in results.les or name not in results.les:
        return None
    exact, found = (
        mean_over_runs(results.les[who]["energy_spectrum"]) for who in (FILTERED_DNS, name)
    )
    return _factor(exact, found)


def _factor(exact: FloatArray, found: FloatArray) -> float | None:
    """exp⟨|ln(found/exact)|⟩ over what is positive in both; None if nothing is."""
    both = (exact > 0) & (found > 0)
    if not both.any():
        return None
    return float(np.exp(np.mean(np.abs(np.log(found[both] / exact[both])))))
