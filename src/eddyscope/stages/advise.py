"""`eddyscope advise`: rank the layers before any of them is re-trained.

Reads models/base.safetensors and a few training samples of the target: the statistics that
normalise them are of the transfer.samples that `transfer` will use, the scores look at the
first advise.samples of those. Writes

advice.json
    {"default_score": NAME, "ranking": ["l02", …],
     "scores": {NAME: {"ranking": […], "values": {"l02": x, …}, "seconds": s}},
     "samples": how many samples the scores saw, "reason": "…"}
    The higher the value the better the layer; seconds of one rank, all layers together.
advice.h5
    values          (score, layer)       each score of each layer
    fitted          (layer, iteration)   linearised_gain: R² on the samples it is fitted to; NaN
                                         once the fit has stopped
    held_out        (layer, iteration)   … and on those held out; iteration 0 is the base model
    band_gain       (layer, wavenumber)  … share of the error's power removed by shell, held out
    error_spectrum  (wavenumber)         power of the base model's error on the samples, by shell
    score, layer, iteration, wavenumber  coordinates (names are UTF-8 texts)
    `fitted`, `held_out`, `band_gain` are there if linearised_gain was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.errors import CaseError
from eddyscope.networks.registry import layer_names
from eddyscope.parallel.failure import agree
from eddyscope.stages.job import Job, Step
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.layout import Variable, attribute_texts, write_artefact

if TYPE_CHECKING:
    from eddyscope.advisor.ranking import Ranking


def plan(job: Job) -> list[str]:
    """What would be scored, a line each. Raises CaseError."""
    _check(job)
    advise = job.case.advise
    layers = len(layer_names(job.case.network))
    used = min(advise.samples, job.case.transfer.samples)
    return [
        f"scores: {', '.join(advise.scores)} of {layers} layers, dealt to "
        f"{job.world.size} rank(s); the advice is by {advise.default_score}",
        f"samples: {used} of the target; {advise.iterations} iterations a layer and fold",
        "writes advice.json and advice.h5, less than 1 MiB",
    ]


def run(job: Job) -> None:
    """Score, unless it is done. Collective."""
    _check(job)
    step = Step(
        "advise",
        sections=("network", "advise", "transfer.samples", "filter"),
        inputs=(job.base_model, job.dataset("target")),
        outputs=(job.out / "advice.json", job.out / "advice.h5"),
    )
    job.perform(step, lambda: _advise(job))


def _check(job: Job) -> None:
    job.case.system("target")
    advise = job.case.advise
    if advise.default_score not in advise.scores:
        raise CaseError(
            f"advise.default_score = {advise.default_score!r} is not among advise.scores = "
            f"{list(advise.scores)}; add it there, or choose another"
        )


def _advise(job: Job) -> None:
    from eddyscope.advisor.ranking import rank_layers
    from eddyscope.artefacts.model import load_model
    from eddyscope.artefacts.normalisation import Normalisation
    from eddyscope.learning.batches import Samples, load_fields
    from eddyscope.learning.device import configure_torch

    case, world, n = job.case, job.world, job.case.network_grid
    configure_torch(world)
    model = agree(world.comm, lambda: load_model(job.base_model, case.network))
    dataset = agree(world.comm, lambda: Dataset(job.dataset("target")))
    agree(world.comm, lambda: dataset.require(n, "train"))
    fields = agree(world.comm, lambda: load_fields(dataset, n, "train", case.transfer.samples))
    normalisation = agree(world.comm, lambda: Normalisation.own("target", fields.by_name()))
    samples = Samples.of(fields.first(case.advise.samples), normalisation)
    rankings = rank_layers(
        model.network, samples, case.advise, world, lambda name: world.say(f"advise: {name}")
    )
    spectrum = _error_spectrum(model.network, samples)
    advice = as_json(rankings, case.advise.default_score, len(samples))
    groups = as_variables(rankings, layer_names(case.network), spectrum)
    attributes = {**job.provenance(), "default_score": case.advise.default_score}
    world.on_root(lambda: write_artefact(job.out / "advice.h5", groups, attributes))
    world.on_root(
        lambda: write_atomically(job.out / "advice.json", json.dumps(advice, indent=1) + "\n")
    )
    world.say(f"advise: {advice['reason']}")


def as_json(rankings: Mapping[str, Ranking], default: str, samples: int) -> dict[str, Any]:
    """The content of advice.json."""
    return {
        "default_score": default,
        "ranking": rankings[default].layers,
        "scores": {
            name: {"ranking": r.layers, "values": r.values, "seconds": r.seconds}
            for name, r in rankings.items()
        },
        "samples": samples,
        "reason": reason(rankings[default], default, samples),
    }


def reason(ranking: Ranking, score: str, samples: int) -> str:
    """Why the first layer comes first, in a sentence."""
    best, second, last = ranking.layers[0], ranking.layers[1], ranking.layers[-1]
    v = ranking.values
    if score == "linearised_gain":
        return (
            f"Of the base model's error on {samples} target sample(s), a small change of {best} "
            f"removes {v[best]:.1%} on samples it was not fitted to, of {second} {v[second]:.1%}, "
            f"and of {last}, the least, {v[last]:.1%}."
        )
    return (
        f"By {score} on {samples} target sample(s), {best} comes first ({v[best]:.3g}), before "
        f"{second} ({v[second]:.3g}); {last} comes last ({v[last]:.3g})."
    )


def as_variables(
    rankings: Mapping[str, Ranking], layers: list[str], spectrum: Any
) -> dict[str, Variable]:
    """The content of advice.h5."""
    values = np.array([[r.values[layer] for layer in layers] for r in rankings.values()])
    variables = {
        "score": Variable(("score",), attribute_texts(list(rankings)), long_name="score"),
        "layer": Variable(("layer",), attribute_texts(layers), long_name="layer"),
        "wavenumber": Variable(
            ("wavenumber",), np.arange(1.0, len(spectrum) + 1), long_name="wavenumber k"
        ),
        "values": Variable(("score", "layer"), values, long_name="score of each layer"),
        "error_spectrum": Variable(
            ("wavenumber",), spectrum, long_name="power of the base model's error by shell"
        ),
    }
    if "linearised_gain" in rankings:
        variables |= _gain_curves(rankings["linearised_gain"], layers)
    return variables


def _gain_curves(ranking: Ranking, layers: list[str]) -> dict[str, Variable]:
    curves = {
        name: np.array([ranking.curves[layer][name] for layer in layers])
        for name in ("fitted", "held_out", "band_gain")
    }
    iterations = np.arange(curves["fitted"].shape[1])
    names = {
        "fitted": "error removed on the samples fitted to",
        "held_out": "error removed on the samples held out",
    }
    return {
        "iteration": Variable(("iteration",), iterations, long_name="conjugate-gradient iteration"),
        **{k: Variable(("layer", "iteration"), curves[k], long_name=t) for k, t in names.items()},
        "band_gain": Variable(
            ("layer", "wavenumber"),
            curves["band_gain"],
            long_name="share of the error's power removed by shell, held out",
        ),
    }


def _error_spectrum(network: Any, samples: Any) -> Any:
    from eddyscope.learning.metrics import shell_spectrum

    error = (samples.targets - network(samples.inputs)).detach().double().numpy()
    return shell_spectrum(error[:, 0], power=2).mean(axis=0)
