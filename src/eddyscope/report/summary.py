"""The report in words: what was done, what came out, and what this case cannot show.

Each function gives sentences for one of these; one that lacks its facts says which are
missing instead of leaving a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eddyscope.report.findings import Findings, find
from eddyscope.report.results import SYSTEMS, Absent, Results

__all__ = ["headlines", "limits", "outcome", "resolution", "setting"]

RESOLVED = 1.5
"""k_max·η from which a simulation counts as resolved."""


def setting(results: Results) -> list[str]:
    """What the case is about."""
    case = results.case
    sentences = [
        "A neural network was trained to stand in for the eddies that a coarse grid cannot hold "
        f"(a closure) on one flow, the base: {_flow(case, 'base')}. It was then re-trained, one "
        f"layer at a time, on {case['transfer']['samples']} samples of another flow, the target: "
        f"{_flow(case, 'target')}."
    ]
    held = results.datasets.get("target")
    if held is not None:
        members = len(held.parts["test"])
        sentences.append(
            f"Everything below is measured on {_count(members, 'run')} of the target that no "
            "training has seen, unless it says otherwise."
        )
    return sentences


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
            (best, f"best of {len(findings.layers)} layers"),
        ]
    except Absent:
        return []
    return figures + _more_headlines(findings)


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


def limits(results: Results) -> list[str]:
    """What this case cannot show."""
    sentences = []
    for system in SYSTEMS:
        try:
            sentences.append(_resolved(system, resolution(results, system)))
        except Absent as gap:
            sentences.append(f"Whether the {system} is resolved cannot be said: {gap}.")
    dataset = results.datasets.get("target")
    if dataset is not None and len(dataset.parts["test"]) < 3:
        members = len(dataset.parts["test"])
        sentences.append(
            f"Only {_count(members, 'run')} of the target {'was' if members == 1 else 'were'} kept "
            "for testing, so the spreads given with ± are rough."
        )
    seeds = results.case["transfer"]["seeds"]
    if seeds == 1:
        sentences.append(
            "Every re-training was done once. How much its outcome depends on the order of the "
            "samples is not known; set transfer.seeds to repeat it."
        )
    return sentences


def resolution(results: Results, system: str) -> float:
    """k_max·η over the sampled window, η = (ν³ / (enstrophy lost to viscosity))^(1/6).

    With palinstrophy P = ⟨|∇ω|²⟩/2 viscosity takes 2νP of enstrophy, so η = (ν²/2P)^(1/6).
    """
    dataset = results.dataset(system)
    records = dataset.diagnostics()
    window = (records["time"] >= dataset.time.min()) & (records["time"] <= dataset.time.max())
    known = records["palinstrophy"][:, window]
    known = known[np.isfinite(known)]
    palinstrophy = float(known.mean()) if known.size else 0.0
    if palinstrophy <= 0.0:
        raise Absent(f"the {system} dataset has no diagnostics of its sampled window")
    viscosity = 1.0 / float(results.case[system]["flow"]["reynolds"])
    eta = (viscosity**2 / (2.0 * palinstrophy)) ** (1.0 / 6.0)
    return float((results.case["grid"]["n"] // 2 - 1) * eta)


def _resolved(system: str, value: float) -> str:
    words = f"The {system}'s smallest eddies against the simulation's grid: k_max·η = {value:.2f}"
    if value >= RESOLVED:
        return f"{words}, so it is resolved ({RESOLVED} or more)."
    return (
        f"{words}, so it is not fully resolved ({RESOLVED} or more would be): read its numbers as "
        "those of this simulation, not of a flow of that Reynolds number."
    )


def _flow(case: Mapping[str, Any], system: str) -> str:
    flow = case[system]["flow"]
    forcing = flow["forcing"]
    stirred = "left to decay"
    if forcing["kind"] != "none":
        stirred = f"stirred at wavenumber {forcing['wavenumber']}"
    return f"Reynolds number {flow['reynolds']:g}, {stirred}"


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
    best, *others = findings.measured
    first = findings.paired_gain(best)
    rivals = []
    for name in others:
        other = findings.paired_gain(name)
        if first is None or other is None:
            return ""
        if first.mean - other.mean <= max(first.spread, other.spread):
            rivals.append(name)
    if not rivals:
        return f"{best} leads by more than the spread over runs."
    return (
        f"{best} cannot be told from {', '.join(rivals)}: the lead is within the spread over runs."
    )


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
    costs = [
        f"{text} {100 * findings.controls[name]['regret_mse']:.0f} %"
        for name, text in habits.items()
        if findings.controls.get(name, {}).get("regret_mse") is not None
    ]
    return f"Without advice, always choosing {', '.join(costs)} more." if costs else ""


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
            words = f"{_closure(name)}: {int(np.sum(found['stable']))} of {len(found['stable'])}"
            told.append(words + _spectrum_words(results, found))
    if not told:
        return ["How the closures did in a simulation was not recorded."]
    return [
        "Back in a coarse simulation of the target, runs that reached the end, and by what factor "
        f"the energy at each scale is off on average (1 is perfect): {'; '.join(told)}."
    ]


def _closure(name: str) -> str:
    return {"none": "no closure", "base": "the base model"}.get(name, name)


def _spectrum_words(results: Results, found: Mapping[str, Any]) -> str:
    """The typical factor between a closure's energy spectrum and the filtered DNS's."""
    if "dns" not in results.les or "energy_spectrum" not in found:
        return " (not compared)"
    truth = np.nanmean(results.les["dns"].group()["energy_spectrum"], axis=0)
    kept = found["energy_spectrum"][np.isfinite(found["energy_spectrum"]).all(axis=1)]
    if not len(kept):
        return " (no spectrum)"
    spectrum = kept.mean(axis=0)
    shells = (truth > 0) & (spectrum > 0)
    factor = np.exp(np.mean(np.abs(np.log(spectrum[shells] / truth[shells]))))
    return f" ({factor:.2f})"


def _said(part: Callable[[Findings], str], findings: Findings) -> str:
    try:
        return part(findings)
    except Absent as gap:
        return f"Not known: {gap}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
