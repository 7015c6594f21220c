"""The report in words: what a case cannot show."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from eddyscope.artefacts.dataset.quality import RESOLVED, k_max_eta, quality
from eddyscope.artefacts.evaluation import THREE_SCALES, without_repeat
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import CONVERGED
from eddyscope.artefacts.model_header import ModelFile
from eddyscope.artefacts.uncertainty import ENOUGH, FEWEST
from eddyscope.config.errors import CaseError
from eddyscope.report.comparison import fixed, percent
from eddyscope.report.results import SYSTEMS, Absent, Results
from eddyscope.report.setting import count

__all__ = ["limits", "resolution"]


def limits(results: Results) -> list[str]:
    """What this case cannot show, in sentences."""
    sentences = [_resolved(results, system) for system in SYSTEMS]
    sentences += [warning for system in SYSTEMS for warning in _warnings(results, system)]
    sentences += (
        _still_learning(results)
        + _above_scales(results)
        + _chosen(results)
        + _few_runs(results)
        + _repeats(results)
    )
    return sentences


def resolution(results: Results, system: str) -> float:
    """k_max·η of a system, see `artefacts/dataset/quality.py`. Absent if it is not known."""
    try:
        value = k_max_eta(results.dataset(system))
    except (CaseError, KeyError):
        value = float("nan")
    if not np.isfinite(value):
        raise Absent(
            f"the {system} dataset has no diagnostics of its sampled window, or says no viscosity"
        )
    return value


def _resolved(results: Results, system: str) -> str:
    try:
        value = resolution(results, system)
    except Absent as gap:
        return f"Whether the {system} is resolved cannot be said: {gap}."
    words = f"The {system}'s smallest eddies against the simulation's grid: k_max·η = {value:.2f}"
    if value >= RESOLVED:
        return f"{words}, so it is resolved ({RESOLVED} or more)."
    return (
        f"{words}, so it is not fully resolved ({RESOLVED} or more would be): read its numbers as "
        "those of this simulation, not of a flow of that viscosity."
    )


def _warnings(results: Results, system: str) -> list[str]:
    """What else is doubtful about a system's samples; resolution has its own sentence."""
    dataset = results.datasets.get(system)
    if dataset is None:
        return []
    if not dataset.complete:
        return [f"The {system} dataset is not complete, so its samples were not judged."]
    try:
        own = rf"^{re.escape(dataset.system)}\b"  # "imported" of both systems, where both are
        found = [re.sub(own, system, warning) for warning in quality(dataset).others]
        return [f"{warning[0].upper()}{warning[1:]}." for warning in found]
    except CaseError as error:
        return [f"Whether the {system}'s samples can be trusted cannot be said: {error}."]


STRETCH = 0.1
"""Of a training's epochs: the last stretch is compared with the one before."""
LEARNT = 0.02
"""Fall of the mean loss from one to the other below which a training counts as converged."""


def _still_learning(results: Results) -> list[str]:
    """Trainings that had not come to their end, with the rule: by what the evaluation says of a
    model, or by its training curve."""
    base = results.models.get(ModelKey())
    others = {str(key): model for key, model in results.models.items() if not key.is_base}
    told = results.evaluation.convergence if results.evaluation is not None else {}
    falls = {n: fall_of(model) for n, model in others.items() if without_repeat(n) not in told}
    unfinished = [name for name, (fall, _) in falls.items() if fall > LEARNT]
    rule = (
        f"that is, its mean over the last {STRETCH:.0%} of the epochs lay more than {LEARNT:.0%} "
        f"below that over the {STRETCH:.0%} before"
    ).replace("%", " %")
    sentences = []
    fall, part = fall_of(base) if base is not None else (0.0, "")
    if fall > LEARNT:
        sentences.append(
            f"The base model's training had not converged: its {part} loss was still falling at "
            f"the end, by {percent(fall)} % ({rule}). With more epochs its error, and what "
            "re-training adds to it, may come out otherwise."
        )
    if unfinished:
        most = max(falls, key=lambda name: falls[name][0])
        fall, part = falls[most]
        sentences.append(
            f"Re-training had not converged for {len(unfinished)} of {len(falls)} models "
            f"({', '.join(unfinished)}): the {part} loss was still falling at the end, most for "
            f"{most}, by {percent(fall)} % ({rule}). Compare these models at this number of "
            "epochs alone."
        )
    return sentences + _by_themselves(told)


def _by_themselves(told: Mapping[str, str]) -> list[str]:
    """Models that had not converged, or not as far as is known, with the reason that each gives."""
    reasons: dict[str, list[str]] = {}
    for name, words in told.items():
        if not words.startswith(CONVERGED[1.0]):
            reasons.setdefault(words, []).append(name)
    if not reasons:
        return []
    words = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    number = sum(map(len, reasons.values()))
    return [
        f"Re-training is not known to have converged for {number} of {len(told)} models. {words}."
    ]


def _above_scales(results: Results) -> list[str]:
    """Re-trained models that end above what three numbers leave, by held-out errors."""
    found = results.evaluation
    if found is None or THREE_SCALES not in found.validation_error:
        return []
    floor, errors = found.validation_error[THREE_SCALES], found.validation_error
    above = [name for name in found.convergence if errors.get(name, 0.0) > floor]
    if not above:
        return []
    told = ", ".join(f"{name} ({fixed(errors[name], 3)})" for name in above)
    return [
        f"On target samples held out of re-training, one factor of each input and output leaves "
        f"{fixed(floor, 3)}, and these models, although re-trained, leave more: {told}. What they "
        "could do with other steps or rates is not known, so their places say little."
    ]


def fall_of(model: ModelFile) -> tuple[float, str]:
    """Share by which a model's loss fell over the last stretch, and of which samples it is:
    validation, or training where none were kept for it. 0 where too few epochs tell."""
    part = "validation" if len(model.losses("validation")) > 1 else "training"
    losses = np.array(model.losses("validation" if part == "validation" else "train"))
    count = max(1, round(STRETCH * len(losses)))
    if len(losses) < 2 * count:
        return 0.0, part
    before, after = losses[-2 * count : -count].mean(), losses[-count:].mean()
    return (float(1.0 - after / before) if before > 0.0 else 0.0), part


def _chosen(results: Results) -> list[str]:
    """Where the best layer is picked on the runs that then judge it."""
    found = results.evaluation
    if found is None or len(found.measured_ranking) < 2:
        return []
    if found.best_by == "validation" and found.best == found.measured_ranking[0]:
        return []
    if found.best_by == "validation":
        return [
            f"Chosen on target samples that were held out of re-training, the best layer is "
            f"{found.best}; on the test runs {found.measured_ranking[0]} leaves less. What is best "
            "on the test runs that judge it looks a little better than it is."
        ]
    return [
        f"The best of the {len(found.measured_ranking)} layers was chosen on the same test runs "
        "that its error is given for, so that error flatters it a little."
    ]


def _few_runs(results: Results) -> list[str]:
    """How far a few test runs can be trusted."""
    dataset = results.datasets.get("target")
    members = len(dataset.parts["test"]) if dataset is not None else 0
    if dataset is not None and not all(block.whole for block in dataset.parts["test"]):
        return [
            f"{count(members, 'test run')} of the target are pieces of longer ones: they follow "
            "one another, so they differ less than runs of their own would."
        ]
    if not 0 < members < ENOUGH:
        return []
    if members < FEWEST:
        return [
            f"{count(members, 'run')} of the target {'was' if members == 1 else 'were'} kept for "
            "testing, too few for an interval: how results vary from run to run is not known."
        ]
    return [
        f"{count(members, 'run')} of the target were kept for testing: intervals made of so few "
        "are rough. Where conclusions are drawn, five or more are better."
    ]


def _repeats(results: Results) -> list[str]:
    """What one training of each kind leaves open."""
    sentences = []
    repeats = results.case["transfer"]["seeds"]
    if 1 < repeats < FEWEST:
        sentences.append(
            f"Every re-training was done {repeats} times, too few for its chance to be part of the "
            "intervals."
        )
    if repeats == 1:
        sentences.append(
            "Every re-training was done once. How much its outcome depends on the order of the "
            "samples is not known; set transfer.seeds to repeat it."
        )
    sentences.append(
        "There is one base model: how much depends on the seed of its training is not known from "
        "this case."
    )
    return sentences
