"""`eddyscope analyze`: what the kernels and activations look like in Fourier space.

Writes analysis.h5 (see `analysis/layout.py`). Kernels: the base model and every re-trained
one (first repeat). Activations: the base model on base and on target samples, the best
single-layer model (as evaluated) and `all` on target samples.
Layers are dealt to the ranks by (model, layer), activations by (run, pair of samples).
One held-out sample of the base is kept beside what the base model makes of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.evaluation import read_best
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.networks.costs import layer_parameters
from eddyscope.networks.registry import layer_names
from eddyscope.stages.case import SYSTEMS, Case
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import normalise
from eddyscope.storage.layout import write_artefact

if TYPE_CHECKING:
    from eddyscope.learning.models import Model

MOST_CHANGED = 8
"""Kernels shown before and after, of each model."""

MAP_BUDGET = 48 * 2**20
"""Bytes of maps up to which those of all kernels are stored."""


def plan(job: Job) -> list[str]:
    """What would be analysed and written, a line each."""
    names = [str(key) for key in _keys(job)]
    size, maps = _bytes(job.case, len(names))
    return [
        f"kernels of base and {len(names)} re-trained models ({', '.join(names)})",
        f"activations over {job.case.analysis.samples} test samples of each system",
        f"writes analysis.h5, about {size / 2**20:.0f} MiB"
        + ("" if maps else "; maps of the most changed kernels only, since all would be too many"),
    ]


def run(job: Job) -> None:
    """Do it, unless it is done. Collective."""
    models = {str(key): job.model(key) for key in (ModelKey(), *_keys(job))}
    for system in SYSTEMS:
        normalise(job, system)
    output = job.out / "analysis.h5"
    step = Step(
        "analyze",
        sections=("seed", "network", "transfer", "analysis"),
        inputs=(
            *models.values(),
            *(job.dataset(system) for system in SYSTEMS),
            *(job.normalisation(system) for system in SYSTEMS),
            job.out / "evaluation.json",
        ),
        outputs=(output,),
    )
    job.perform(step, lambda: _analyze(job, models, output))


def _keys(job: Job) -> list[ModelKey]:
    """The re-trained models, first repeats alone."""
    return [key for key in job.case.transfer_models if key.seed is None]


def _analyze(job: Job, paths: Mapping[str, Path], output: Path) -> None:
    from eddyscope.analysis import layout
    from eddyscope.learning.models import load_model

    expect = job.case.network
    models = job.world.on_root(
        lambda: {name: load_model(path, expect) for name, path in paths.items()}
    )
    best = str(job.world.on_root(lambda: read_best(job.out / "evaluation.json")))
    groups = _kernels(job, models)
    runs = {
        "base_on_base": ("base", "base"),
        "base_on_target": ("base", "target"),
        "best_on_target": (best, "target"),
    }
    if "all" in models:
        runs["all_on_target"] = ("all", "target")
    groups |= _activations(job, models, runs)
    groups["example_on_base"] = job.world.on_root(lambda: _example(job, models["base"]))
    attributes = {
        **job.provenance(),
        "format": layout.FORMAT,
        "n": job.case.network_grid,
        "best": best,
        "runs": json.dumps({run: {"model": m, "system": s} for run, (m, s) in runs.items()}),
    }
    job.world.on_root(lambda: write_artefact(output, groups, attributes))


def _kernels(job: Job, models: Mapping[str, Model]) -> dict[str, Any]:
    """Groups of the kernels of all models and of their changes. Collective."""
    from eddyscope.analysis import layout
    from eddyscope.analysis.kernel_survey import most_changed, survey
    from eddyscope.learning.models import weights_of

    n = job.case.network_grid
    layers = list(models["base"].network.layers)
    kernels = {
        name: {layer: weights_of(model.network)[f"{layer}.weight"] for layer in layers}
        for name, model in models.items()
    }
    found = survey(job.world, kernels, n, job.case.seed)
    _, maps = _bytes(job.case, len(models) - 1)
    single = {name for name in models if name == "base" or ModelKey.parse(name).is_single_layer}
    groups = {
        f"kernels/{model}/{layer}": layout.kernel_group(
            entry, kernels[model][layer], n, model in single, maps and model in single
        )
        for (model, layer), entry in found.items()
    }
    others = [name for name in models if name != "base"]
    groups["changes"] = layout.change_group(found, others, layers)
    for name in others:
        moved = most_changed(found, kernels, name, MOST_CHANGED)
        if moved:
            groups[f"most_changed/{name}"] = layout.moved_group(moved, n)
    return groups


def _activations(
    job: Job, models: Mapping[str, Model], runs: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """Groups of the activation spectra of `runs`: name -> (model, system). Collective.

    Every system is normalised by its own training samples, as in training: the base
    model's statistics for base, a re-trained model's for target.
    """
    from eddyscope.analysis import layout
    from eddyscope.analysis.activation_spectra import Probe, measure
    from eddyscope.learning.batches import normalised_inputs
    from eddyscope.networks.closure_network import INPUTS, ClosureNetwork

    own = {s: job.world.on_root(partial(read_normalisation, job.normalisation(s))) for s in SYSTEMS}
    inputs = job.world.on_root(
        lambda: {
            system: normalised_inputs(own[system], *_test_samples(job, system))
            for system in SYSTEMS
        }
    )
    probes = {
        run: Probe(ClosureNetwork.of(models[model].network).activations, inputs[system])
        for run, (model, system) in runs.items()
    }
    spectra = measure(job.world, probes)
    return {f"activations/{run}": layout.activation_group(s, INPUTS) for run, s in spectra.items()}


def _example(job: Job, model: Model) -> dict[str, Any]:
    """Exact and predicted Π of one test sample of the base. Not collective."""
    from eddyscope.analysis import layout
    from eddyscope.learning.batches import load_fields
    from eddyscope.learning.prediction import predict

    fields = load_fields(Dataset(job.dataset("base")), job.case.network_grid, "test", 1)
    predicted = predict(model.network, model.normalisation, fields.psi, fields.omega)
    return layout.example_group(fields.pi[0, 0], predicted[0, 0])


def _test_samples(job: Job, system: str) -> tuple[Any, Any]:
    """psi and omega of the samples to look at; fewer where the test members have fewer."""
    from eddyscope.learning.batches import load_fields

    dataset = Dataset(job.dataset(system))
    n = job.case.network_grid
    dataset.require(n, "test")
    available = len(dataset.parts["test"]) * dataset.samples
    fields = load_fields(dataset, n, "test", min(job.case.analysis.samples, available))
    return fields.psi, fields.omega


def _bytes(case: Case, models: int) -> tuple[int, bool]:
    """Bytes of analysis.h5, about, and whether it has the maps of all kernels.

    Single-layer models have one layer each, so together they count as one model. The
    controls have all layers; of those only shapes and changes are stored.
    """
    network, n = case.network, case.network_grid
    kernels = sum(layer_parameters(network, case.channels).values()) // network.kernel_size**2
    shells = round(n / math.sqrt(2)) + 1
    controls = max(models - len(layer_names(network)), 0)
    size = 4 * kernels * (2 * shells + 9 * (2 + controls)) + models * MOST_CHANGED * 8 * n * n
    maps = 2 * kernels * 4 * min(n, 16) ** 2
    fits = maps <= MAP_BUDGET
    return size + (maps if fits else 0), fits
