"""The tables of the report: the same rows for the terminal and for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eddyscope.artefacts.evaluation import Interval
from eddyscope.artefacts.key import BASE, ModelKey
from eddyscope.artefacts.model import CONVERGED
from eddyscope.artefacts.normalisation import WAYS
from eddyscope.report.comparison import (
    Comparison,
    fixed,
    in_percent,
    in_words,
    paired_in_words,
    percent,
)
from eddyscope.report.results import SYSTEMS, Absent, Results
from eddyscope.report.setting import flow_settings

__all__ = [
    "Table",
    "flow_table",
    "layer_table",
    "matched_table",
    "metric_table",
    "step_table",
    "way_table",
]


BEYOND = (
    "Beyond scales: the share removed of the error that one factor of each input and output leaves "
    "(three_scales)."
)


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: tuple[int, ...] = ()
    """Places of the rows to point out."""
    best_means: str = ""
    ties: tuple[int, ...] = ()
    """Places of the rows that cannot be told from it."""
    ties_mean: str = ""
    notes: tuple[str, ...] = ()
    """Sentences below the table."""
    definitions: tuple[tuple[str, str], ...] = ()
    """(column, what it is), for readers who ask."""

    def text(self) -> str:
        """For a terminal: columns aligned, the best row marked by a star, its ties by "="."""
        lines = [("", *self.header)]
        marks = dict.fromkeys(self.best, "*") | dict.fromkeys(self.ties, "=")
        lines += [(marks.get(i, ""), *row) for i, row in enumerate(self.rows)]
        widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
        aligned = [_align(line, widths) for line in lines]
        aligned.insert(1, "-" * max(len(line) for line in aligned))
        marked = [f"* {self.best_means}"] if self.best else []
        marked += [f"= {self.ties_mean}"] if self.ties else []
        return "\n".join([*aligned, *marked, *self.notes])


def layer_table(compared: Comparison) -> Table:
    """Every model on the target: base, the layers, the rest; the best layer pointed out."""
    names = _ordered(compared)
    header = (
        "re-trained",
        "error on target",
        *[f"against {compared.chosen}"] * bool(compared.differences),
        "error removed",
        *["beyond scales"] * bool(compared.beyond_scales),
        *["of the full gain"] * bool(compared.contribution),
        "spectrum error",
        *["converged"] * bool(compared.convergence),
        *(prediction.words for prediction in compared.predictions),
    )
    rows = tuple(_row(compared, name) for name in names)
    distinct = compared.layers and not (compared.all_alike and len(compared.layers) > 1)
    return Table(
        header,
        rows,
        (names.index(compared.best),) if distinct else (),
        compared.best_is,
        tuple(names.index(name) for name in compared.ties) if distinct else (),
        f"cannot be told from {compared.chosen}: {_why_tied(compared)}",
        _notes(compared),
    )


def _why_tied(compared: Comparison) -> str:
    if not compared.resampled:
        return "the same error"
    return "the interval of the paired difference includes 0"


def matched_table(compared: Comparison) -> Table | None:
    """Models that were re-trained twice: all at one rate and number of steps, against each with its
    own; None where there are none."""
    names = sorted(compared.matched, key=lambda name: compared.error(name).mean)
    if not names:
        return None
    own = {name: str(replace(ModelKey.parse(name), recipe=None)) for name in names}
    rows = tuple(
        (
            own[name],
            in_words(compared.error(name)) + _repeats(compared.error(name)),
            *[_beyond(compared, name)] * bool(compared.beyond_scales),
            _or_nothing(compared.target.get(own[name], {}).get("error")),
            _converged(compared, name),
        )
        for name in names
    )
    beyond = ["beyond scales"] * bool(compared.beyond_scales)
    equal = "error, all at equal rate and steps"
    header = ("re-trained", equal, *beyond, "with its own", "converged")
    notes = (
        *[BEYOND] * bool(compared.beyond_scales),
        "Least error first. At equal rate and steps no choice is made, and a layer of few weights "
        "may not get far; with a rate and steps of its own, chosen on samples held out of "
        "re-training, each does what it can. What both orders have in common does not hang on it.",
    )
    return Table(header, rows, notes=notes)


def metric_table(compared: Comparison) -> Table:
    """Every metric of every model on the target, each defined."""
    names = [*_ordered(compared), *compared.matched]
    known = [m for m in compared.meanings if any(m in compared.target[name] for name in names)]
    rows = tuple(
        (compared.described(name), *(_mean(compared.target[name].get(m)) for m in known))
        for name in names
    )
    notes = (
        "Means over the test runs; evaluation.csv has those of each run. p is the prediction, Π "
        "the truth, ψ̄ and ω̄ the filtered streamfunction and vorticity, ⟨·⟩ a mean over points.",
    )
    shown = [(m.replace("_", " "), compared.meanings[m]) for m in known]
    header = ("re-trained", *(name for name, _ in shown))
    return Table(header, rows, notes=notes, definitions=tuple(shown))


def _mean(interval: Interval | None) -> str:
    if interval is None:
        return "not there"
    return fixed(interval.mean, 3) if math.isfinite(interval.mean) else "not finite"


def way_table(compared: Comparison) -> Table:
    """The base model on the target, not re-trained, under each normalisation."""
    stored = compared.normalised.get(BASE)
    ways = {f"{stored} (as it is)": compared.target[BASE]} if BASE in compared.target else {}
    ways |= {way: found for way, found in compared.renormalised.items() if way != stored}
    rows = tuple(
        (way, *(_or_nothing(found.get(name)) for name in ("error", "spectrum_error")))
        for way, found in ways.items()
    )
    notes = [f"{way}: {text}." for way, text in WAYS.items() if way in compared.renormalised]
    header = ("base model, target normalised by", "error on target", "spectrum error")
    return Table(header, rows, notes=tuple(notes))


def _ordered(compared: Comparison) -> list[str]:
    """Models in the order of the table: base, single layers, the others as in the evaluation."""
    names = [BASE, *compared.layers, *compared.others()]
    return [name for name in names if name in compared.target]


def _notes(compared: Comparison) -> tuple[str, ...]:
    notes = ["Error: mean squared error over mean square."]
    if compared.way:
        told = next((text for way, text in WAYS.items() if way == compared.way), "")
        notes.append(
            "The base model is as its file holds it. For the re-trained models the target is "
            f"normalised by {told} ({compared.way})."
        )
    if compared.beyond_scales:
        notes.append(BEYOND)
    if compared.contribution:
        notes.append(
            "Of the full gain: of what re-training all layers gains over the base model, "
            "normalised alike, the part that this layer gains alone; more than 100 % where all "
            "layers do worse."
        )
    notes.append(
        f"In brackets: 95 % bootstrap intervals of the mean, made by resampling "
        f"{compared.resampled}; left out where they have no length."
        if compared.resampled
        else f"No intervals: {compared.no_interval}."
    )
    if compared.differences:
        notes.append(
            f"Against {compared.chosen}: its error subtracted, on the same test runs and "
            "trainings. What is hard in a run is hard for every layer and drops out, so this tells "
            "layers apart that their own intervals do not."
        )
    if compared.convergence:
        notes.append(
            "Converged: whether the re-training had come to its end; one that had not might leave "
            "less with more steps or larger rates, and its place says little. Why, is under “What "
            "this case cannot show”. Empty for what takes no steps."
        )
    if any(metrics["error"].repeats for metrics in compared.target.values() if "error" in metrics):
        notes.append("In square brackets: the least and the largest of the repeated trainings.")
    if compared.predictions:
        notes.append(
            "Last columns: the rank that each score gave before any re-training; layers of equal "
            "scores share their rank, and a score that tells none apart gives none."
        )
    return tuple(notes)


def _row(compared: Comparison, name: str) -> tuple[str, ...]:
    ranks = [prediction.rank(name) for prediction in compared.predictions]
    error = compared.error(name)
    return (
        compared.described(name),
        in_words(error) + _repeats(error),
        *[_against(compared, name)] * bool(compared.differences),
        _removed(compared.error_removed.get(name)),
        *[_beyond(compared, name)] * bool(compared.beyond_scales),
        *[_contribution(compared, name)] * bool(compared.contribution),
        _or_nothing(compared.target[name].get("spectrum_error")),
        *[_converged(compared, name)] * bool(compared.convergence),
        *("" if rank is None else str(rank) for rank in ranks),
    )


def _converged(compared: Comparison, name: str) -> str:
    """Whether a re-training had come to its end; empty for what takes no steps."""
    words = compared.convergence.get(name, "")
    answers = {CONVERGED[1.0]: "yes", CONVERGED[0.0]: "no"}
    found = (answer for begin, answer in answers.items() if words.startswith(begin))
    return next(found, "not known" if words else "")


def _repeats(error: Interval) -> str:
    if error.repeats is None:
        return ""
    return f" [{fixed(error.repeats.least, 3)} to {fixed(error.repeats.largest, 3)}]"


def _against(compared: Comparison, name: str) -> str:
    """The paired difference of a layer from the best."""
    found = compared.differences.get(name)
    return "" if found is None else paired_in_words(found)


def _removed(share: Interval | None) -> str:
    """Percentages: mean, and interval."""
    if share is None or not math.isfinite(share.mean):
        return ""
    return in_percent(share)


def _beyond(compared: Comparison, name: str) -> str:
    """What a model adds to three scales."""
    share = compared.beyond_scales.get(name)
    if share is not None and compared.repaired_by:
        return "nothing left"
    return _removed(share)


def _contribution(compared: Comparison, name: str) -> str:
    """A layer's share of the full gain; empty for all else, and where there is no such gain."""
    share = compared.contribution.get(name, math.nan)
    return f"{percent(share)} %" if math.isfinite(share) else ""


def _or_nothing(interval: Interval | None) -> str:
    return "not there" if interval is None else in_words(interval)


def flow_table(results: Results) -> Table:
    """What is known of both systems, side by side."""
    columns = [_settings(results, system) for system in SYSTEMS]
    known = dict.fromkeys(name for column in columns for name in column)
    names = sorted(known, key=lambda name: not name.startswith("flow."))  # else in their order
    rows = tuple((name, *(column.get(name, "–") for column in columns)) for name in names)
    notes = [
        f"The {system}: no such system in the case."
        for system, column in zip(SYSTEMS, columns, strict=True)
        if not column
    ]
    return Table(("setting", *SYSTEMS), rows, notes=tuple(notes))


def _settings(results: Results, system: str) -> Mapping[str, str]:
    try:
        return flow_settings(results, system)
    except Absent:
        return {}


def step_table(results: Results) -> Table:
    """The steps that ran, in their order."""
    rows = tuple(
        (s.step, s.state, s.ranks, s.message, s.updated, s.code_version) for s in results.steps
    )
    return Table(("step", "state", "ranks", "outcome", "at (UTC)", "code"), rows)


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    parts = [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(parts).rstrip()
