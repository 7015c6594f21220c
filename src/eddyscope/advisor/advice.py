"""From rankings to the advice that is written down (`artefacts/advice.py`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr

from eddyscope.advisor.ranking import Ranking
from eddyscope.advisor.reason import reason
from eddyscope.advisor.scores.base import Evidence, Score
from eddyscope.artefacts.advice import Advice, ScoredLayers, curves_dataset
from eddyscope.config.arrays import FloatArray
from eddyscope.learning.metrics import shell_spectrum
from eddyscope.networks.base import LayeredModel

__all__ = ["advice_of", "curves_of", "error_spectrum"]


def advice_of(
    scores: Mapping[str, Score], rankings: Mapping[str, Ranking], default: str, samples: int
) -> Advice:
    """What `rankings` say, the default score's reason with it."""
    return Advice(
        default_score=default,
        scores={name: _scored(ranking) for name, ranking in rankings.items()},
        samples=samples,
        reason=reason(default, scores[default], rankings[default], samples),
    )


def _scored(ranking: Ranking) -> ScoredLayers:
    return ScoredLayers(
        ranking=ranking.layers,
        values=dict(ranking.values),
        ties=ranking.ties,
        seconds=ranking.seconds,
    )


def curves_of(ranking: Ranking) -> xr.Dataset:
    """The curves of all layers; every layer has those of the first one."""
    layers = list(ranking.values)
    first = ranking.curves[layers[0]] if ranking.curves else {}
    return curves_dataset(
        layers,
        {
            name: (
                curve.axis,
                curve.positions,
                np.stack([ranking.curves[layer][name].values for layer in layers]),
                curve.meaning,
            )
            for name, curve in first.items()
        },
    )


def error_spectrum(model: LayeredModel, evidence: Evidence) -> FloatArray:
    """Σ|ê|² by shell k = 1 … n/2 − 1 of the base model's error on the target samples, all
    channels together, mean over samples."""
    samples = evidence.target
    with torch.no_grad():
        error = (samples.targets - model(samples.inputs)).double().numpy()
    spectrum: FloatArray = shell_spectrum(error, power=2).sum(axis=1).mean(axis=0)
    return spectrum
