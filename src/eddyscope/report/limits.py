"""The report in words: what a case cannot show."""

from __future__ import annotations

import numpy as np

from eddyscope.artefacts.dataset.quality import RESOLVED, k_max_eta
from eddyscope.config.errors import CaseError
from eddyscope.report.results import SYSTEMS, Absent, Results
from eddyscope.report.setting import count

__all__ = ["limits", "resolution"]


def limits(results: Results) -> list[str]:
    """What this case cannot show, in sentences."""
    sentences = [_resolved(results, system) for system in SYSTEMS]
    sentences += _chosen(results) + _few_runs(results) + _repeats(results)
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


def _chosen(results: Results) -> list[str]:
    """The best layer is picked on the runs that then judge it."""
    found = results.evaluation
    if found is None or len(found.measured_ranking) < 2:
        return []
    return [
        f"The best of the {len(found.measured_ranking)} layers was chosen on the same test runs "
        "that its error is given for, so that error flatters it a little."
    ]


def _few_runs(results: Results) -> list[str]:
    """How far a few test runs can be trusted."""
    dataset = results.datasets.get("target")
    members = len(dataset.parts["test"]) if dataset is not None else 0
    if not 0 < members < 5:
        return []
    if members == 1:
        return [
            "One run of the target was kept for testing: how results vary from run to run is "
            "not known."
        ]
    return [
        f"{count(members, 'run')} of the target were kept for testing: the ranges in brackets are "
        "their least and largest, and a further run may well lie outside them."
    ]


def _repeats(results: Results) -> list[str]:
    """What one training of each kind leaves open."""
    sentences = []
    if results.case["transfer"]["seeds"] == 1:
        sentences.append(
            "Every re-training was done once. How much its outcome depends on the order of the "
            "samples is not known; set transfer.seeds to repeat it."
        )
    sentences.append(
        "There is one base model: how much depends on the seed of its training is not known from "
        "this case."
    )
    return sentences
