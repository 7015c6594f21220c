"""What is analysed: networks at work on test samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from eddyscope.analysis.activation_spectra import Subject
from eddyscope.artefacts.analysis import Run, example_group
from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.learning.batches import Fields, load_fields, normalised_inputs
from eddyscope.learning.models import Model
from eddyscope.learning.prediction import predict
from eddyscope.networks.settings import Channels

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["example_of", "subjects_of", "runs_of", "test_fields"]


def runs_of(models: Mapping[ModelKey, Model], best: ModelKey | None) -> dict[str, Run]:
    """The base model on both systems; on the target also the best of a single layer and the first
    model that is a ceiling (`artefacts/role.py`), where there are such models."""
    runs = {"base_on_base": Run(ModelKey(), "base"), "base_on_target": Run(ModelKey(), "target")}
    if best is not None and best in models:
        runs["best_on_target"] = Run(best, "target")
    ceiling = next((k for k, m in models.items() if m.record.adapted.role == "ceiling"), None)
    if ceiling is not None:
        runs["ceiling_on_target"] = Run(ceiling, "target")
    return runs


def test_fields(source: Source, n: int, channels: Channels, count: int) -> Fields:
    """Test samples of a dataset; fewer than `count` where there are fewer.

    Not collective. Raises CaseError.
    """
    dataset = source.open()
    dataset.require(n, "test")
    names = channels.fields(dataset.layers)
    return load_fields(dataset, n, "test", min(count, dataset.count("test")), names)


def subjects_of(
    models: Mapping[ModelKey, Model],
    runs: Mapping[str, Run],
    fields: Mapping[str, Fields],
    by: Mapping[str, Normalisation],
) -> dict[str, Subject]:
    """What is looked at in each run; fields and normalisation by system, the same for all models,
    so that they differ by their weights alone."""
    channels = next(iter(models.values())).network.channels
    inputs = {s: normalised_inputs(by[s], found.values, channels) for s, found in fields.items()}
    return {
        name: Subject(models[run.model].network, inputs[run.system]) for name, run in runs.items()
    }


def example_of(model: Model, fields: Fields) -> xr.Dataset:
    """The exact and the predicted outputs of the first of `fields`."""
    predicted = predict(model.network, model.normalisation, fields.first(1).values)
    exact = np.stack(list(fields.channels(model.network.channels.outputs).values()), axis=1)
    return example_group(exact[0], predicted[0])
