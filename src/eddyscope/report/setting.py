"""The report in words: what the case is about. A sentence that lacks its facts says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.split import PARTS
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model_header import ModelFile
from eddyscope.artefacts.normalisation import WAYS
from eddyscope.report.results import SYSTEMS, Absent, Case, Results

__all__ = ["count", "flow_settings", "setting", "shown_case"]

KNOWN = ("members", "samples", "interval")
"""Of an ensemble, what every dataset knows."""

UNTRAINED = 0.8
"""Error of the base model on its own flow from which on it has learnt little: 1 is nothing."""


def setting(results: Results) -> list[str]:
    """What the case is about, in sentences."""
    sentences = [
        _aim(results),
        _shift(results),
        _seeds(results),
        _base_model(results),
        *_untrained(results),
    ]
    dataset = results.datasets.get("target")
    if dataset is not None:
        blocks = dataset.parts["test"]
        runs = count(len(blocks), "run")
        whole = all(block.whole for block in blocks)
        sentences.append(
            f"Everything below is measured on {runs} of the target that no training has seen, "
            + ("" if whole else "each a piece of a longer one, ")
            + "unless it says otherwise."
        )
    return sentences


def flow_settings(results: Results, system: str) -> dict[str, str]:
    """Dotted name -> value of everything that is known of a system's flow and ensemble: from the
    case, or from the dataset that it names, whose own settings are then unknown or another case's.

    Absent if the case has no such system.
    """
    section = results.system(system)
    found = {name: _text(value) for name, value in _leaves(section) if value is not None}
    if not section.get("dataset"):
        return found
    dataset = results.datasets.get(system)
    simulated = dataset is not None and dataset.system in SYSTEMS  # by another case
    parts = ("dataset", "flow.", "ensemble.") if simulated else ("dataset", "flow.")
    kept = {name: value for name, value in found.items() if name.startswith(parts)}
    return kept if dataset is None else {**kept, **_of_dataset(dataset)}


def _of_dataset(dataset: Dataset) -> dict[str, str]:
    """What a dataset says of itself, in the names of a case where it has them."""
    ensemble = dataset.ensemble
    told = {f"ensemble.{name}": getattr(ensemble, name) for name in KNOWN}
    told |= {part: f"{count(dataset.count(part), 'sample')}" for part in PARTS}
    widths = {f"filter width, n = {n}": width for n, width in dataset.filter_width.items()}
    return {name: _text(value) for name, value in {**told, **widths}.items()}


def shown_case(results: Results) -> Case:
    """The case as the page has it: without settings of what it does not simulate, which a dataset
    that it names was not made with."""
    shown = dict(results.case)
    named = [s for s in SYSTEMS if (shown.get(s) or {}).get("dataset")]
    for system in named:
        section = dict(shown[system])
        section["ensemble"] = {"split": section["ensemble"].get("split")}
        shown[system] = section
    if len(named) == sum(bool(shown.get(s)) for s in SYSTEMS):
        shown.pop("filter", None)
    return shown


def _text(value: object) -> str:
    """A setting as people write it."""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def count(number: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _aim(results: Results) -> str:
    base, target = (_flow(results, system) for system in SYSTEMS)
    samples = results.case["transfer"]["samples"]
    return (
        "A neural network was to stand in for the eddies that a coarse grid cannot hold (a "
        f"closure). It is trained on one flow, the base ({base}). Then parts of it are re-trained "
        f"on {count(samples, 'sample')} of another flow, the target ({target})."
    )


def _shift(results: Results) -> str:
    """What differs between the two systems, by what is known of both."""
    try:
        base, target = (_deciding(results, system) for system in SYSTEMS)
    except Absent:
        return ""
    known = [part for part in base if base[part] and target.get(part)]
    pairs = [(base[part], target[part]) for part in known]
    told = [
        f"{name} {left.get(name, 'none')} → {right.get(name, 'none')}"
        for left, right in pairs
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name)
    ]
    if told:
        return f"From base to target there changes: {'; '.join(told)}."
    return f"Base and target have the same settings of: {', '.join(known)}." if known else ""


def _deciding(results: Results, system: str) -> dict[str, dict[str, str]]:
    """Part ("flow", "filter", "filter widths") -> its settings by dotted name, for what is known:
    of a dataset that the case names, the widths. Absent if there is no such system."""
    section = results.system(system)
    parts: dict[str, Any] = {"flow": section.get("flow"), "filter": None, "filter widths": None}
    if not section.get("dataset"):
        parts["filter"] = section.get("filter") or results.case.get("filter")
    elif system in results.datasets:
        parts["filter widths"] = results.datasets[system].filter_width
    return {
        part: {
            name: _text(value)
            for name, value in _leaves(values or {}, f"{part}.")
            if value is not None
        }
        for part, values in parts.items()
    }


def _flow(results: Results, system: str) -> str:
    """A flow in half a sentence: what is not zero in its equation."""
    flow = results.flows.get(system)
    if flow:
        return flow.words
    if system in results.datasets:
        return f"known by its data alone, {results.datasets[system].path.name}"
    return f"not there (the case has no [{system}] system)"


def _seeds(results: Results) -> str:
    """Which seeds the random numbers have, and how often re-training was repeated."""
    case = results.case
    seeds = {"flows": case["seed"]}
    for stage, section in (("base training", "training"), ("re-training", "transfer")):
        own = case[section].get("seed")
        seeds[stage] = case["seed"] if own is None else own
    words = ", ".join(f"{seed} for the {what}" for what, seed in seeds.items())
    repeats = case["transfer"]["seeds"]
    return (
        f"Seeds: {words}. Every re-training was done {_times(repeats)}. For it the target's fields "
        f"are normalised by {WAYS[case['transfer']['normalisation']]}."
    )


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _base_model(results: Results) -> str:
    """What the base model is, how long it was trained, and how well it does at home."""
    try:
        model = results.model(ModelKey())
    except Absent as gap:
        return f"What the base model is cannot be said: {gap}."
    epochs = len(model.losses("train"))
    kind = results.case["network"].get("kind", "network")
    words = f"The base model ({kind}, {model.parameters} weights)"
    if not epochs:
        return f"{words} carries no record of its training."
    return f"{words} was trained for {count(epochs, 'epoch')}.{_own_layers(model)}"


def _own_layers(model: ModelFile) -> str:
    """Which submodules of a user's module the layers l01, l02, … are."""
    layers = model.metadata.get("layers")
    if model.metadata.get("network", {}).get("kind") != "user" or not layers:
        return ""
    return f" Its layers: {', '.join(f'{name} is {path}' for name, path in layers.items())}."


def _untrained(results: Results) -> list[str]:
    """A base model that has learnt little, or less long than the case says."""
    sentences = []
    model = results.models.get(ModelKey())
    epochs, wanted = len(model.losses("train")) if model else 0, results.case["training"]["epochs"]
    if 0 < epochs < wanted and not results.case["training"].get("model"):
        sentences.append(
            f"The base model was trained for {count(epochs, 'epoch')}, where the case says "
            f"{wanted}."
        )
    error = _error_at_home(results)
    if error is not None and not error < UNTRAINED:
        sentences.append(
            f"On its own flow the base model leaves an error of {error:.2f}, where 1 is predicting "
            "nothing: it has learnt next to nothing that carries over to other runs, by too little "
            "training or by too few samples, so this case says little about re-training."
        )
    return sentences


def _error_at_home(results: Results) -> float | None:
    found = results.evaluation
    metrics = found.models.get("base", {}).get("base", {}) if found is not None else {}
    return metrics["error"].mean if "error" in metrics else None


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of everything in a nested mapping."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
