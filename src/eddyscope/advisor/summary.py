"""What an evaluation says in the end: intervals, the measured order of layers, the score card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from eddyscope.advisor.score_card import card_of, controls, measured, measured_ranking
from eddyscope.artefacts.advice import Advice
from eddyscope.artefacts.evaluation import (
    THREE_SCALES,
    Metrics,
    Summary,
    adapted,
    contribution,
    differences,
    error_removed,
    normalised,
    ranks,
    summarise,
    target_values,
    way_of,
    without_repeat,
)
from eddyscope.artefacts.key import BASE, ModelKey
from eddyscope.artefacts.model import ModelRecord
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.artefacts.uncertainty import tied_with
from eddyscope.learning.batches import Fields
from eddyscope.learning.evaluation import Evaluation
from eddyscope.learning.metrics import METRICS

__all__ = ["summary_of"]


def summary_of(
    found: Evaluation,
    own: Mapping[str, Normalisation],
    tests: Mapping[str, Fields],
    advice: Advice | None,
) -> Summary:
    """The content of evaluation.json. `best` is of the least held-out error, so that test members
    do not pick what they judge.

    own: system -> its own statistics; tests: system -> the fields that models were tried on.
    """
    models = summarise(found.rows)
    renormalised: dict[str, Metrics] = {
        way: summarise(rows)[BASE]["target"] for way, rows in found.renormalised.items()
    }
    ways = normalised(found.rows)
    singles = [name for name in models if ModelKey.parse(name).is_single_layer]
    layers = [name for name in singles if ModelKey.parse(name).recipe is None]
    known = models["base"]["target"] if "base" in models else {}
    errors, spectra = (
        {name: models[name]["target"][metric].mean for name in layers} if metric in known else {}
        for metric in ("error", "spectrum_error")
    )
    ranking = measured_ranking(errors)
    validation = validation_errors(found.records)
    held_out = [name for name in layers if name in validation]
    by_validation = bool(layers) and held_out == layers
    by_error = sorted(layers, key=lambda name: validation[name]) if by_validation else ranking
    best = by_error[0] if by_error else None
    scores = advice.scores if advice and ranking else {}
    by_member = target_values(found.rows)
    tables = {name: by_member[name] for name in errors}
    order = measured(tables)
    return Summary(
        models=models,
        adapted=adapted(found.rows),
        error_removed=error_removed(found.rows),
        beyond_scales=error_removed(found.rows, THREE_SCALES),
        contribution=contribution(models, renormalised.get(way_of(ways), {}).get("error")),
        normalised=ways,
        measured_ranking=ranking,
        best=best,
        best_by="validation" if by_validation else "test",
        validation_error=validation,
        convergence=convergence(found.records, validation),
        differences=differences(tables, best) if best in tables else {},
        ranks=ranks(tables),
        tied_with_best=tied_with(tables, best) if best in tables else [],
        rank_ceiling=order.ceiling,
        score_card={
            n: card_of(score.groups, errors, spectra, order) for n, score in scores.items()
        },
        controls=controls(errors, spectra, order) if ranking else {},
        renormalised=renormalised,
        normalisation={system: normalisation.model_dump() for system, normalisation in own.items()},
        members={s: sorted(set(f.numbers)) for s, f in tests.items()},
        metrics=METRICS,
    )


def validation_errors(records: Sequence[ModelRecord]) -> dict[str, float]:
    """MODEL -> its held-out error, mean over repeats, where all of them have one."""
    found: dict[str, list[float | None]] = {}
    for record in records:
        found.setdefault(without_repeat(record.key), []).append(
            record.metrics.get("validation_error")
        )
    known = {name: [e for e in errors if e is not None] for name, errors in found.items()}
    return {
        name: fmean(errors) for name, errors in known.items() if len(errors) == len(found[name])
    }


def convergence(records: Sequence[ModelRecord], validation: Mapping[str, float]) -> dict[str, str]:
    """Re-trained MODEL -> what its file says of its convergence, of repeats the first that has not
    converged; and whether it ends above the floor of scales, by held-out errors."""
    told: dict[str, str] = {}
    for record in sorted(records, key=lambda record: record.metrics.get("converged") != 0.0):
        if record.convergence:
            told.setdefault(without_repeat(record.key), record.convergence)
    floor = validation.get(THREE_SCALES, math.inf)
    return {
        name: "; ".join([words, *_above(validation.get(name, 0.0), floor)])
        for name, words in told.items()
    }


def _above(error: float, floor: float) -> list[str]:
    if not error > floor:
        return []
    return [f"ends above the floor of scales ({error:.2f} against {floor:.2f})"]
