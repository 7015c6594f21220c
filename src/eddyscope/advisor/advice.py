"""From rankings to the advice that is written down (`artefacts/advice.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from eddyscope.advisor.ranking import Ranking, rank_layers
from eddyscope.advisor.reason import reason
from eddyscope.advisor.scores.base import Evidence, Score
from eddyscope.artefacts.advice import Advice, ScoredLayers, curves_dataset, write_advice
from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import FloatArray
from eddyscope.learning.batches import Fields, Samples, load_fields
from eddyscope.learning.metrics import shell_spectrum
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.settings import Channels
from eddyscope.networks.shift import SHIFTED, shift_error, shift_words
from eddyscope.parallel.torch_group import pick_device
from eddyscope.parallel.world import World

__all__ = ["advice_of", "curves_of", "error_spectrum", "evidence_of", "write_rankings"]


def evidence_of(
    target: Source,
    way: Normalisation,
    counts: tuple[int, int],
    n: int,
    base: Source | None,
    of_base: Normalisation,
    channels: Channels,
) -> Evidence:
    """What scores look at, from the datasets. Not collective. Raises CaseError.

    way: the target's normalisation; counts: samples that re-training uses, and how many of them
    scores see; base: the base system's dataset if a score reads it, normalised by `of_base`.
    """

    def fields(source: Source, count: int) -> Fields:
        dataset = source.open()
        dataset.require(n, "train")
        return load_fields(dataset, n, "train", count, channels.fields(dataset.layers))

    used, seen = counts
    given = fields(target, used).first(seen)
    home = None if base is None else Samples.of(fields(base, seen), of_base, channels)
    return Evidence(Samples.of(given, way, channels), home, given.spectral, way.name)


def write_rankings(
    model: LayeredModel,
    evidence: Evidence,
    scores: Mapping[str, Score],
    folders: Mapping[str, Path],
    world: World,
    attributes: Mapping[str, str | int],
) -> None:
    """Rank the layers by every score, on the rank's device, where network and samples go, and write
    the advice of each alone, to its own folder. Collective. Raises CannotWrite."""
    device = pick_device(world.comm)
    model.to(device)
    evidence = evidence.to(device)
    rankings = rank_layers(
        model, evidence, scores, world, lambda name: world.say(f"advise: {name}")
    )
    spectrum = error_spectrum(model, evidence)
    count, inputs = len(evidence.target), evidence.target.inputs
    shift = shift_error(model, inputs[:SHIFTED]) if evidence.spectral else None

    def write() -> None:
        for name, ranking in rankings.items():
            told = {name: scores[name]}, {name: ranking}, name, count
            advice = advice_of(*told, evidence.normalisation, shift, model.own_paths)
            curves = {name: curves_of(ranking)}
            write_advice(folders[name], advice, spectrum, curves, attributes)

    world.on_root(write)
    if shift_words(shift):
        world.say(f"advise: {shift_words(shift)}")


def advice_of(
    scores: Mapping[str, Score],
    rankings: Mapping[str, Ranking],
    default: str,
    samples: int,
    normalisation: str,
    shift_error: float | None = None,
    paths: Mapping[str, str] | None = None,
) -> Advice:
    """What `rankings` say, the default score's reason with it; paths: see `reason`."""
    return Advice(
        default_score=default,
        scores={name: _scored(ranking) for name, ranking in rankings.items()},
        samples=samples,
        reason=reason(default, scores[default], rankings[default], samples, paths),
        normalisation=normalisation,
        shift_error=shift_error,
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
    channels together, mean over samples; of no shells where the fields have none."""
    samples = evidence.target
    if not evidence.spectral:
        return np.empty(0)
    with torch.no_grad():
        error = (samples.targets - model(samples.inputs)).double().cpu().numpy()
    spectrum: FloatArray = shell_spectrum(error, power=2).sum(axis=1).mean(axis=0)
    return spectrum
