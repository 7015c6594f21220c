"""`eddyscope evaluate`: offline metrics of every model on both systems; how good the advice was.

Reads models/base.safetensors, models/transfer/*, both datasets, and advice.json if it is
there. Every model is tried on the test members of both systems, each system normalised by
its own statistics (the target's: of the samples that `transfer` saw). Metrics are defined
in `learning/metrics.py`; "std" is the spread over held-out members (over snapshots if there
is one member). MODEL: base, l01, …, gain, all, scratch, scale; with transfer.seeds > 1 one
entry a repeat, "l02.seed0", "l02.seed1", …, and "l02" for all of them. Writes

evaluation.json
    {"models": {MODEL: {"base"|"target":
                        {METRIC: {"mean", "std", "std_samples"[, "std_seeds"]}}}},
     "transfer_gain": {MODEL: {"mean", "std", "std_samples"}}
                      share of the base model's target error that is gone (not for base)
     "measured_ranking": ["l02", …]     single layers by target `error`, the best first
     "best": "l02" or null              the first of them
     "score_card": {SCORE: {"spearman", "regret_mse", "regret_spectrum"}}     {} without advice
     "controls": {"first_layer"|"last_layer"|"random": the same}     advice that needs no data
     "normalisation_study": {"own"|"base"|"per_snapshot": {METRIC: {…}}}   base model on target
     "normalisation": {"base"|"target": means and standard deviations},
     "metrics": {METRIC: its meaning}}
evaluation.h5, with groups
    base/ and target/
        METRIC              (model, member, sample)      value of each test snapshot
        pi_spectrum         (model, member, wavenumber)  sum of |Π̂| by shell, mean over samples
        pi_spectrum_true    (member, wavenumber)
        model, member, sample, wavenumber                coordinates (model: UTF-8 names)
    history/
        train, validation   (model, epoch)               training curves, NaN where there is none
        trained_parameters, trained_samples, trained_seconds   (model)
    examples/               the middle snapshot of the target's first test member
        pi                  (field, y, x)                field: "exact", "base", then the best
                                                         single layer's name if there is one
        psi, omega          (y, x)
    and root attributes: provenance, `best`, `example_member`, `example_sample`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.errors import CaseError
from eddyscope.learning.variants import Variant, single_layers, variants_of
from eddyscope.networks.registry import layer_names
from eddyscope.parallel.failure import agree
from eddyscope.parallel.work import map_in_order
from eddyscope.spectral.grid import BOX
from eddyscope.stages.case import SYSTEMS, Case
from eddyscope.stages.job import Job, Step
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.layout import Variable, attribute_texts, write_artefact

if TYPE_CHECKING:
    from eddyscope.artefacts.model import Model
    from eddyscope.artefacts.normalisation import Normalisation
    from eddyscope.learning.batches import Fields
    from eddyscope.learning.evaluation import Outcome, Summaries


def plan(job: Job) -> list[str]:
    """What would be evaluated, a line each. Raises CaseError."""
    case = job.case
    names = model_files(job)
    snapshots = {s: test_snapshots(case, s) for s in SYSTEMS}
    numbers = 10 * len(names) * sum(snapshots.values())
    return [
        f"models: {len(names)}, dealt to {job.world.size} rank(s)",
        "test snapshots: " + ", ".join(f"{count} of {s}" for s, count in snapshots.items()),
        f"writes evaluation.json and evaluation.h5, about {8 * numbers / 2**20:.1f} MiB",
    ]


def run(job: Job) -> None:
    """Evaluate, unless it is done. Collective."""
    advice = job.out / "advice.json"
    read = job.world.on_root(lambda: [advice] if advice.exists() else [])
    for system in SYSTEMS:
        test_snapshots(job.case, system)
    step = Step(
        "evaluate",
        sections=("network", "transfer", "filter"),
        inputs=(*model_files(job).values(), *(job.dataset(s) for s in SYSTEMS), *read),
        outputs=(job.out / "evaluation.json", job.out / "evaluation.h5"),
    )
    job.perform(step, lambda: _evaluate(job, bool(read)))


def test_snapshots(case: Case, system: str) -> int:
    """Test samples of a system, all members together. CaseError if there are none."""
    ensemble = case.system(system).ensemble
    members = len(ensemble.parts["test"])
    if members == 0:
        raise CaseError(
            f"the {system} ensemble has no test members; raise {system}.ensemble.members (now "
            f"{ensemble.members}) to 2 or more, or set {system}.ensemble.split"
        )
    return members * ensemble.samples


def model_files(job: Job) -> dict[str, Path]:
    """Entry's name -> artefact, base first."""
    return {"base": job.base_model} | {
        entry_name(v, job.case): v.path(job.transfer_folder) for v in _variants(job.case)
    }


def entry_name(variant: Variant, case: Case) -> str:
    """ "l02", or "l02.seed0", … where it is repeated."""
    repeats = sum(v.name == variant.name for v in _variants(case))
    return variant.name if repeats == 1 else f"{variant.name}.seed{variant.seed}"


def _variants(case: Case) -> list[Variant]:
    return variants_of(case.transfer, layer_names(case.network))


def _evaluate(job: Job, with_advice: bool) -> None:
    from eddyscope.artefacts.model import load_model
    from eddyscope.learning.device import configure_torch
    from eddyscope.learning.evaluation import evaluate
    from eddyscope.learning.metrics import METRICS
    from eddyscope.learning.prediction import normalisations

    case, world = job.case, job.world
    configure_torch(world)
    paths = model_files(job)
    models = agree(
        world.comm, lambda: {name: load_model(p, case.network) for name, p in paths.items()}
    )
    tests = agree(world.comm, lambda: {system: _test_fields(job, system) for system in SYSTEMS})
    base = models["base"].normalisation
    target = next(model.normalisation for name, model in models.items() if name != "base")
    ways = agree(world.comm, lambda: normalisations(base, target))
    items = [(name, s, {"base": base, "target": target}[s]) for s in SYSTEMS for name in models]
    study = [("base", "target", way) for way in ways.values()]

    def one(item: tuple[str, str, Normalisation]) -> Outcome:
        name, system, normalisation = item
        return evaluate(models[name], normalisation, tests[system], case.training.batch_size)

    found = map_in_order(world, one, [*items, *study])
    outcomes: dict[str, dict[str, Outcome]] = {s: {} for s in SYSTEMS}
    for (name, system, _), outcome in zip(items, found, strict=False):
        outcomes[system][name] = outcome
    advice = world.on_root(lambda: _read_advice(job)) if with_advice else {}
    members = {s: [m for m, _ in tests[s].origin] for s in SYSTEMS}
    text = {
        **_findings(case, outcomes, members, advice),
        "normalisation_study": {
            way: outcome.summaries(members["target"])
            for way, outcome in zip(ways, found[len(items) :], strict=True)
        },
        "normalisation": {"base": base.as_dict(), "target": target.as_dict()},
        "metrics": METRICS,
    }
    world.on_root(lambda: _write(job, models, outcomes, tests, text))


def _test_fields(job: Job, system: str) -> Fields:
    from eddyscope.learning.batches import load_fields

    dataset = Dataset(job.dataset(system))
    dataset.require(job.case.network_grid, "test")
    return load_fields(dataset, job.case.network_grid, "test")


def _findings(
    case: Case,
    outcomes: Mapping[str, Mapping[str, Outcome]],
    members: Mapping[str, list[int]],
    advice: Mapping[str, Any],
) -> dict[str, Any]:
    """Summaries of all models, what re-training gained, the measured ranking, the score card."""
    from eddyscope.advisor.score_card import card_of, controls, measured_ranking

    models: dict[str, dict[str, Summaries]] = {}
    for system in SYSTEMS:
        summaries = {n: o.summaries(members[system]) for n, o in outcomes[system].items()}
        for name, entry in _with_all_seeds(case, summaries).items():
            models.setdefault(name, {})[system] = entry
    target = outcomes["target"]
    gains = {
        name: {"gain": outcome.gain_over(target["base"], members["target"])}
        for name, outcome in target.items()
        if name != "base"
    }
    layers = single_layers([name for name in models if "." not in name])
    errors = {name: models[name]["target"]["error"]["mean"] for name in layers}
    spectra = {name: models[name]["target"]["spectrum_error"]["mean"] for name in layers}
    ranking = measured_ranking(errors)
    return {
        "models": models,
        "transfer_gain": {n: g["gain"] for n, g in _with_all_seeds(case, gains).items()},
        "measured_ranking": ranking,
        "best": ranking[0] if ranking else None,
        "score_card": {
            name: card_of(score["ranking"], errors, spectra)
            for name, score in advice.get("scores", {}).items()
            if ranking
        },
        "controls": controls(errors, spectra) if ranking else {},
    }


def _with_all_seeds(case: Case, entries: Mapping[str, Summaries]) -> dict[str, Summaries]:
    """`entries` and, where a model was repeated, one entry under its plain name for all."""
    from eddyscope.learning.evaluation import mean_of_seeds

    result = dict(entries)
    for variant in _variants(case):
        name = entry_name(variant, case)
        if name != variant.name and variant.seed == 0:
            names = [entry_name(v, case) for v in _variants(case) if v.name == variant.name]
            result[variant.name] = mean_of_seeds([entries[n] for n in names])
    return result


def _read_advice(job: Job) -> dict[str, Any]:
    path = job.out / "advice.json"
    try:
        advice: dict[str, Any] = json.loads(path.read_text())
        wanted = set(layer_names(job.case.network))
        if any(set(score["ranking"]) != wanted for score in advice["scores"].values()):
            raise ValueError(f"its layers are not {min(wanted)} … {max(wanted)}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(
            f"{path}: not usable as advice ({error}); make it again with `eddyscope advise --fresh`"
        ) from None
    return advice


def _write(
    job: Job,
    models: Mapping[str, Model],
    outcomes: Mapping[str, Mapping[str, Outcome]],
    tests: Mapping[str, Fields],
    text: Mapping[str, Any],
) -> None:
    from eddyscope.learning.evaluation import history_variables, system_variables

    best = text["best"]
    shown = {"base": "base"} | ({best: _first_entry(best, models)} if best else {})
    fields = tests["target"]
    middle = [i for i, (m, _) in enumerate(fields.origin) if m == fields.origin[0][0]]
    number = middle[len(middle) // 2]
    groups = {system: system_variables(outcomes[system], tests[system]) for system in SYSTEMS}
    groups["history"] = history_variables(models)
    groups["examples"] = _examples({k: models[v] for k, v in shown.items()}, models, fields, number)
    attributes = {
        **job.provenance(),
        "best": best or "",
        "example_member": fields.origin[number][0],
        "example_sample": fields.origin[number][1],
    }
    write_artefact(job.out / "evaluation.h5", groups, attributes)
    content = json.dumps(text, indent=1, allow_nan=False) + "\n"
    write_atomically(job.out / "evaluation.json", content)


def _first_entry(name: str, models: Mapping[str, Model]) -> str:
    """The entry that stands for a model in pictures: its first repeat."""
    return name if name in models else f"{name}.seed0"


def _examples(
    shown: Mapping[str, Model], models: Mapping[str, Model], fields: Fields, number: int
) -> dict[str, Variable]:
    from eddyscope.learning.prediction import predict

    one = slice(number, number + 1)
    target = next(model.normalisation for name, model in models.items() if name != "base")
    pictures = [fields.pi[number].astype(np.float64)]
    for model in shown.values():
        pictures.append(predict(model.network, target, fields.psi[one], fields.omega[one])[0])
    n = fields.pi.shape[-1]
    points = np.arange(n) * (BOX / n)
    return {
        "field": Variable(("field",), attribute_texts(["exact", *shown]), long_name="whose"),
        "y": Variable(("y",), points, long_name="coordinate y"),
        "x": Variable(("x",), points, long_name="coordinate x"),
        "pi": Variable(("field", "y", "x"), np.stack(pictures), long_name="subgrid term"),
        "psi": Variable(("y", "x"), fields.psi[number], long_name="filtered streamfunction"),
        "omega": Variable(("y", "x"), fields.omega[number], long_name="filtered vorticity"),
    }
