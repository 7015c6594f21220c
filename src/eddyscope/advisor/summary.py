"""What an evaluation says in the end: intervals, the measured order of layers, the score card."""

from __future__ import annotations

from collections.abc import Mapping

from eddyscope.advisor.score_card import card_of, controls, measured_ranking
from eddyscope.artefacts.advice import Advice
from eddyscope.artefacts.evaluation import Summary, adapted, error_removed, summarise
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import Normalisation
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
    """The content of evaluation.json.

    own: system -> the normalisation in use; tests: system -> the fields that models were tried on.
    """
    models = summarise(found.rows)
    layers = [name for name in models if ModelKey.parse(name).is_single_layer]
    known = models["base"]["target"] if "base" in models else {}
    errors, spectra = (
        {name: models[name]["target"][metric].mean for name in layers} if metric in known else {}
        for metric in ("error", "spectrum_error")
    )
    ranking = measured_ranking(errors)
    scores = advice.scores if advice and ranking else {}
    return Summary(
        models=models,
        adapted=adapted(found.rows),
        error_removed=error_removed(found.rows),
        measured_ranking=ranking,
        best=ranking[0] if ranking else None,
        score_card={n: card_of(score.groups, errors, spectra) for n, score in scores.items()},
        controls=controls(errors, spectra) if ranking else {},
        normalisation_study={
            way: summarise(rows)["base"]["target"] for way, rows in found.study.items()
        },
        normalisation={system: normalisation.model_dump() for system, normalisation in own.items()},
        members={s: sorted(set(f.numbers)) for s, f in tests.items()},
        metrics=METRICS,
    )
