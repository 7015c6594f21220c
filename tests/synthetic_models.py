"""Models made without training, for tests of what reads models: random weights, known changes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.model import Model, save_model
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.learning.batches import load_fields
from eddyscope.learning.variants import Variant, names_of
from eddyscope.networks.closure_network import ClosureNetwork
from eddyscope.networks.registry import layer_names
from eddyscope.stages.case import Case

BEST = "l02"
"""The layer that the evaluation written here calls the best."""


def write_models(case: Case, out: Path) -> None:
    """models/ and a bare evaluation.json under `out`, for datasets that are there. Not collective.

    Each re-trained model is the base model with noise added to the layers it re-trains.
    """
    own = {system: normalisation(case, out, system) for system in ("base", "target")}
    base = ClosureNetwork(case.network, (case.seed,))
    history = {"history": {"train": [1.0, 0.5, 0.25], "validation": [1.0, 0.6, 0.4]}}
    save_model(out / "models/base.safetensors", Model(base, own["base"], "base", history))
    errors = {"base": 0.9}
    for place, name in enumerate(names_of(case.transfer, layer_names(case.network))):
        network = changed(base, name, place)
        model = Model(network, own["target"], name, {**history, "retrained": [name]})
        save_model(Variant(name).path(out / "models/transfer"), model)
        errors[name] = 0.2 if name == BEST else 0.4 + 0.05 * place
    write_evaluation(out, errors)


def normalisation(case: Case, out: Path, system: str) -> Normalisation:
    """A system's own statistics."""
    dataset = Dataset(out / system / "dataset.h5")
    return Normalisation.own(system, load_fields(dataset, case.network_grid, "train").by_name())


def changed(base: ClosureNetwork, name: str, seed: int) -> ClosureNetwork:
    """A copy of `base` with noise on the layers that a model called `name` re-trains."""
    network = copy.deepcopy(base)
    generator = torch.Generator().manual_seed(seed)
    layers = name.split("+") if name[0] == "l" else base.names
    with torch.no_grad():
        for layer in layers:
            weight = network.layer(layer).weight
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return network


def write_evaluation(out: Path, errors: dict[str, float]) -> None:
    """evaluation.json with the same made-up errors for both systems."""
    metrics = ("mse", "error", "spectrum_error")
    models = {
        name: {
            system: {metric: {"mean": error, "std": 0.01} for metric in metrics}
            for system in ("base", "target")
        }
        for name, error in errors.items()
    }
    layers = [name for name in errors if name[0] == "l"]
    best = min(layers, key=lambda name: errors[name])
    (out / "evaluation.json").write_text(json.dumps({"models": models, "best": best}))
