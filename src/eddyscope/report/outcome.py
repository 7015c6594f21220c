"""The report in words: whether transfer learning helped, which layer is best, what was predicted.

A sentence that lacks its facts says which are missing instead of leaving a hole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.report.findings import Findings, find
from eddyscope.report.les_figures import label
from eddyscope.report.results import Absent, Results

__all__ = ["headlines", "outcome", "spectrum_factor"]


def outcome(results: Results) -> list[str]:
    """Whether transfer learning helped, which layer is best, and what was predicted."""
    parts: tuple[Callable[[Findings], str], ...] = (_need, _helped, _order, _predicted, _floor)
    try:
        findings = find(results)
    except Absent as gap:
        return [f"Whether transfer learning helped cannot be said: {gap}.", *_in_the_loop(results)]
    return [_said(part, findings) for part in parts] + _in_the_loop(results)


def headlines(results: Results) -> list[tuple[str, str]]:
    """The few numbers to remember: (figure, what it is). Empty if nothing was evaluated."""
    try:
        findings = find(results)
        best = findings.best
        figures = [
            (
                f"{findings.error('base').mean:.2f} → {findings.error(best).mean:.2f}",
                f"error on the target, before and after re-training {best} alone "
                f"({100 * findings.gain(best):.0f} % less)",
            ),
            (best, f"best of {len(findings.layers)} layers{_rivals_words(findings)}"),
        ]
    except Absent:
        return []
    return figures + _more_headlines(findings) + _les_headline(results)


def _more_headlines(findings: Findings) -> list[tuple[str, str]]:
    figures = []
    ranking = findings.scores and findings.default_score and findings.advice.ranking
    if ranking and ranking[0] in findings.layers:
        cost = 100 * findings.regret(ranking[0])
        text = f"predicted beforehand; following it costs {cost:.0f} % more error than the best"
        figures.append((ranking[0], text))
    if "scale" in findings.target:
        floor = f"{findings.error('scale').mean:.2f}"
        figures.append((floor, "error if the output is merely multiplied by one number"))
    return figures


def _les_headline(results: Results) -> list[tuple[str, str]]:
    others = [name for name in results.les if name not in ("dns", "none", "base")]
    before = spectrum_factor(results, "base")
    factors = {name: spectrum_factor(results, name) for name in others}
    known = {name: factor for name, factor in factors.items() if factor is not None}
    if before is None or not known:
        return []
    name = min(known, key=lambda n: (n != "best", known[n]))
    who = label(name, results.les[name])
    text = f"factor by which energies by scale are off in a coarse simulation: base model, {who}"
    return [(f"{before:.2f} → {known[name]:.2f}", text)]


def _need(findings: Findings) -> str:
    words = f"the base model leaves an error of {findings.error('base')} on the target"
    if findings.base_at_home is not None:
        words += f", against {findings.base_at_home} on its own flow"
    return f"As it is, {words} (0 is perfect, 1 as bad as predicting nothing)."


def _helped(findings: Findings) -> str:
    best, gain = findings.best, findings.gain(findings.best)
    error = findings.error(best)
    if gain <= 0.0:
        return f"Re-training one layer did not help: the best, {best}, leaves {error}."
    words = f"Re-training {best} alone leaves {error}, {100 * gain:.0f} % less"
    if "all" in findings.target:
        words += f"; re-training all layers leaves {findings.error('all')}"
    spread = findings.paired_gain(best)
    if spread is None:
        return words + "."
    each = "more than its spread" if spread.mean > spread.spread else "within its spread"
    return (
        f"{words}. Run by run, re-training {best} takes away {100 * spread.mean:.0f} ± "
        f"{100 * spread.spread:.0f} % of the error, {each} over the held-out runs."
    )


def _order(findings: Findings) -> str:
    best, worst = findings.measured[0], findings.measured[-1]
    if best == worst:
        return f"Only {best} was re-trained alone, so layers cannot be compared."
    return (
        f"The best layer is {best}, the worst {worst} ({findings.error(worst)}, "
        f"{100 * findings.regret(worst):.0f} % more error than {best}). "
        f"In order: {', '.join(findings.measured)}. {_lead(findings)}"
    ).rstrip()


def _lead(findings: Findings) -> str:
    """Whether the best layer can be told from the next ones."""
    rivals = _rivals(findings)
    if rivals is None:
        return ""
    if not rivals:
        return f"{findings.best} leads by more than the spread over runs."
    return (
        f"{findings.best} cannot be told from {', '.join(rivals)}: the lead is within the spread "
        "over runs."
    )


def _rivals(findings: Findings) -> list[str] | None:
    """Layers that gain as much as the best one within the spread; None if that is not known."""
    best, *others = findings.measured
    first = findings.paired_gain(best)
    rivals = []
    for name in others:
        other = findings.paired_gain(name)
        if first is None or other is None:
            return None
        if first.mean - other.mean <= max(first.spread, other.spread):
            rivals.append(name)
    return rivals


def _rivals_words(findings: Findings) -> str:
    rivals = _rivals(findings)
    return f", though not told from {', '.join(rivals)}" if rivals else ""


def _predicted(findings: Findings) -> str:
    score = findings.advice
    first = score.ranking[0]
    name = score.name.replace("_", " ")
    words = f"Before any re-training, the score “{name}” put {first} first"
    if first not in findings.layers:
        return f"{words}, which was not re-trained."
    regret = findings.regret(first)
    spectrum = findings.regret(first, "spectrum_error")
    if first == findings.best:
        words += ", which is indeed the best"
    else:
        words += (
            f"; following it would have cost {100 * regret:.0f} % more error than the best layer "
            f"(and {100 * spectrum:.0f} % more error of the spectrum than the best in that)"
        )
    rho = score.card.get("spearman")
    if rho is not None:
        words += (
            f". Its whole order agrees with the measured one with a rank correlation of "
            f"{f'{rho:.2f}'.replace('-', '−')} "
            "(1: the same order, 0: unrelated, −1: reversed)"
        )
    return f"{words}. {_without_advice(findings)}".rstrip()


def _without_advice(findings: Findings) -> str:
    """What habits that look at no data would have cost."""
    habits = {"first_layer": "the first layer", "last_layer": "the last", "random": "any at random"}
    costs = {
        text: f"{100 * findings.controls[name]['regret_mse']:.0f} %"
        for name, text in habits.items()
        if findings.controls.get(name, {}).get("regret_mse") is not None
    }
    if not costs:
        return ""
    told = ", ".join(f"{text} {cost}" for text, cost in costs.items())
    return f"What choosing without any advice would have cost: {told}."


def _floor(findings: Findings) -> str:
    floor, best = findings.error("scale"), findings.best
    words = f"Merely multiplying the base model's output by one number leaves {floor}"
    gained = findings.gain(best)
    if gained <= 0.0:
        return f"{words}."
    share = findings.gain("scale") / gained
    verdict = (
        "so most of what re-training gained here is a matter of amplitude, and this case says "
        "little about layers"
        if share > 0.7
        else "so re-training learnt more than amplitude"
    )
    return f"{words}, {100 * max(share, 0.0):.0f} % of what {best} gained, {verdict}."


def _in_the_loop(results: Results) -> list[str]:
    """What closures did in a simulation: how many runs ended, how far their spectra are off."""
    closures = [name for name in results.les if name != "dns"]
    if not closures:
        return ["No closure was run back in a simulation (`eddyscope les`)."]
    told = []
    for name in closures:
        found = results.les[name].group()
        if "stable" in found:
            ended = f"{int(np.sum(found['stable']))} of {len(found['stable'])}"
            who = label(name, results.les[name])
            told.append(f"{who}: {ended}{_spectrum_words(results, name)}")
    if not told:
        return ["How the closures did in a simulation was not recorded."]
    return [
        "Back in a coarse simulation of the target, runs that reached the end, and by what factor "
        f"the energy at each scale is off on average (1 is perfect): {'; '.join(told)}."
    ]


def _spectrum_words(results: Results, name: str) -> str:
    factor = spectrum_factor(results, name)
    return " (spectrum not compared)" if factor is None else f" ({factor:.2f})"


def spectrum_factor(results: Results, name: str) -> float | None:
    """exp⟨|ln(E/E_dns)|⟩ over wavenumbers of a closure; None if there is nothing to compare."""
    if "dns" not in results.les or name not in results.les:
        return None
    exact, found = (_mean_spectrum(results, who) for who in ("dns", name))
    if exact is None or found is None:
        return None
    shells = (exact > 0) & (found > 0)
    return float(np.exp(np.mean(np.abs(np.log(found[shells] / exact[shells])))))


def _mean_spectrum(results: Results, name: str) -> NDArray[Any] | None:
    """Energy spectrum over the members that have one."""
    spectra = results.les[name].group().get("energy_spectrum", np.empty((0, 0)))
    kept: NDArray[Any] = spectra[np.isfinite(spectra).all(axis=1)]
    return kept.mean(axis=0) if len(kept) else None


def _said(part: Callable[[Findings], str], findings: Findings) -> str:
    try:
        return part(findings)
    except Absent as gap:
        return f"Not known: {gap}."
