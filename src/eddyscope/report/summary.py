"""The report in words: what was done, and what this case cannot show.

A sentence that lacks its facts says which are missing instead of leaving a hole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eddyscope.artefacts.dataset.quality import RESOLVED, k_max_eta
from eddyscope.report.results import SYSTEMS, Absent, Results

__all__ = ["limits", "resolution", "setting"]


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
    """k_max·η of a system, see `artefacts/dataset/quality.py`."""
    value = k_max_eta(results.dataset(system))
    if not np.isfinite(value):
        raise Absent(f"the {system} dataset has no diagnostics of its sampled window")
    return value


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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
