"""Models made without training, for tests of what reads models: random weights, known changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from eddyscope.artefacts import evaluation
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import Curves, ModelGrid, ModelRecord, Resolved
from eddyscope.artefacts.normalisation import Normalisation, statistics_of
from eddyscope.artefacts.role import NOT_ADAPTED, Adapted
from eddyscope.artefacts.uncertainty import tied_with
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.batches import load_fields
from eddyscope.learning.metrics import METRICS
from eddyscope.learning.models import Model, save_model
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels, NetworkSettings
from eddyscope.stages.case import SYSTEMS, Case

BEST = "l02"
"""The layer that the evaluation written here calls the best."""


def write_models(case: Case, out: Path) -> None:
    """models/ and a bare evaluation.json under `out`, for datasets that are there. Not collective.

    Each re-trained model is the base model with noise added to the layers it re-trains.
    """
    own = {system: normalisation(case, out, system) for system in SYSTEMS}
    base = build(case.network, case.channels, (case.seed,), case.network_grid)
    made = {ModelKey(): base}
    for place, key in enumerate(case.transfer_models):
        made[key] = changed(base, re_trained(key, list(base.layers)), place)
    errors = {}
    for place, (key, network) in enumerate(made.items()):
        system = "base" if key.is_base else "target"
        under = "base" if key.is_base else case.transfer.normalisation
        by = statistics_of(under, own["base"], own[system])
        record = record_of(str(key), case.network, by, n=case.network_grid)
        save_model(key.path(out / "models"), Model(network, record))
        errors[str(key)] = 0.9 if key.is_base else 0.2 if str(key) == BEST else 0.35 + 0.05 * place
    write_evaluation(out, errors)


def re_trained(key: ModelKey, layers: list[str]) -> list[str]:
    """The layers that a model re-trains: those it names, or none of scales alone, or all."""
    return list(key.layers) or ([] if key.kind in ("scale", "three_scales") else layers)


def record_of(
    key: str, network: NetworkSettings, normalisation: Normalisation, n: int = 16
) -> ModelRecord:
    """What a model's file says, made up but for the arguments."""
    parsed = ModelKey.parse(key)
    return ModelRecord(
        key=key,
        resolved=Resolved.of(
            parsed,
            samples=3,
            normalisation=normalisation.name,
            training_seed=3,
            base="" if parsed.is_base else "ab" * 32,
        ),
        adapted=adapted(parsed),
        network=network,
        channels=Channels.of_fields(network.inputs, network.outputs),
        normalisation=normalisation,
        grid=ModelGrid(n=n, filter_width=0.8),
        retrained=list(parsed.layers),
        history=Curves(train=[1.0, 0.5, 0.25], validation=[1.0, 0.6, 0.4]),
        metrics={"samples": 3, "parameters": 10},
    )


def adapted(key: ModelKey) -> Adapted:
    """How a model's adaptation speaks of itself."""
    if key.is_base:
        return NOT_ADAPTED
    values: dict[str, Any] = {n: int(v) if v.isdecimal() else v for n, v in key.parameters.items()}
    if key.layers:
        values["layers"] = list(key.layers)
    adaptation = ADAPTATIONS.build(ADAPTATIONS.settings(key.kind, **values))
    return Adapted(role=adaptation.role, words=adaptation.words)


def normalisation(case: Case, out: Path, system: str) -> Normalisation:
    """A system's own statistics."""
    dataset = Dataset(out / system / "dataset.h5")
    fields = load_fields(dataset, case.network_grid, "train")
    names = case.channels.names
    pieces = [fields.channels(names) | dict(fields.values)]
    return Normalisation.own(system, names, lambda: pieces)


def changed(base: LayeredModel, layers: list[str], seed: int) -> LayeredModel:
    """A copy of `base` with noise on the weights of `layers`."""
    network = base.copy()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in layers:
            weight = network.layers[name].weight
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return network


def write_evaluation(
    out: Path,
    errors: dict[str, float],
    members: tuple[int, ...] = (3, 4),
    spread: float = 0.01,
    renormalised: dict[str, float] | None = None,
    noise: dict[str, Sequence[float]] | None = None,
    best: str | None = None,
) -> None:
    """The evaluation's files with the same made-up errors for both systems.

    The test members' errors lie `spread` below and above; details are of one sample a member.
    noise: model -> what is added to the error of each test member; its key may name a repeat.
    best: the layer that held-out samples chose; by default that of the least error.
    renormalised: way to normalise the target -> error of the base model under it.
    """
    subjects = {ModelKey.parse(name): error for name, error in errors.items()}
    values = {
        key: error + spread * np.linspace(-1.0, 1.0, len(members)) if len(members) > 1 else [error]
        for key, error in subjects.items()
    }
    for name, more in (noise or {}).items():
        key = ModelKey.parse(name)
        values[key] = values[key] + np.array(more)
    rows = [
        row_of(key, system, metric, member, value)
        for system in ("base", "target")
        for key, found in values.items()
        for metric in METRICS
        for member, value in zip(members, found, strict=True)
    ]
    found = evaluation.target_values(rows)
    layers = {name: found[name] for name in found if ModelKey.parse(name).is_single_layer}
    ranking = sorted(layers, key=lambda name: layers[name].mean())
    best = best or (ranking[0] if ranking else None)
    summary = evaluation.Summary(
        models=evaluation.summarise(rows),
        adapted=evaluation.adapted(rows),
        error_removed=evaluation.error_removed(rows),
        measured_ranking=ranking,
        best=best,
        differences=evaluation.differences(layers, best) if best else {},
        ranks=evaluation.ranks(layers),
        tied_with_best=tied_with(layers, best) if best else [],
        beyond_scales=evaluation.error_removed(rows, evaluation.THREE_SCALES),
        contribution=evaluation.contribution(
            evaluation.summarise(rows), evaluation.interval(found["base"])
        ),
        normalised=evaluation.normalised(rows),
        renormalised={
            way: {"error": evaluation.Interval(mean=error)}
            for way, error in (renormalised or {}).items()
        },
        members={"base": list(members), "target": list(members)},
        metrics=METRICS,
    )
    details = details_of(values, members, ["base", *ranking[:1]])
    evaluation.write_evaluation(out, rows, details, summary, {"case_name": "synthetic"})


def row_of(key: ModelKey, system: str, metric: str, member: int, value: float) -> evaluation.Row:
    """A row of the table."""
    layers, repeat = "+".join(key.layers), None if key.is_base else key.seed or 0
    told = adapted(key)
    known = (str(key), key.kind, told.role, told.words, layers, "", None if key.is_base else 3, 3)
    return evaluation.Row(
        *known,
        "chosen",
        repeat,
        "base" if key.is_base else "dimensional",
        system,
        metric,
        member,
        f"member {member}",
        1,
        float(value),
    )


def details_of(
    values: dict[ModelKey, Any], members: tuple[int, ...], shown: list[str]
) -> dict[str, xr.Dataset]:
    """Groups of evaluation.h5: made-up spectra, curves and examples."""
    names, n = np.array([str(key) for key in values]), 16
    table = np.array(list(values.values()), dtype=float)[:, :, None]
    spectrum = np.broadcast_to(np.arange(1.0, n // 2) ** -2.0, (len(members), n // 2 - 1))
    coordinates = {"model": names, "member": list(members), "sample": [0]}
    coordinates["wavenumber"] = np.arange(1.0, n // 2)
    system = xr.Dataset(
        dict.fromkeys(METRICS, (("model", "member", "sample"), table))
        | {"pi_spectrum": (("model", "member", "wavenumber"), table * spectrum)}
        | {"pi_spectrum_true": (("member", "wavenumber"), spectrum)},
        coordinates,
    )
    curve = np.ones((len(names), 3)) * [1.0, 0.5, 0.25]
    history = xr.Dataset(
        dict.fromkeys(("train", "validation"), (("model", "epoch"), curve)), {"model": names}
    )
    wave = np.broadcast_to(np.sin(np.arange(n)), (1 + len(shown), n, n))
    examples = xr.Dataset({"pi": (("field", "y", "x"), wave)}, {"field": ["exact", *shown]})
    return {"base": system, "target": system, "history": history, "examples": examples}
