"""`eddyscope analyze`: what the kernels and activations look like in Fourier space.

Writes analysis.h5, described in `artefacts/analysis.py`. Kernels: the base model and every
re-trained one (first repeat). Activations: base on base and on target samples, the best single
layer (as evaluated) and `all` on target samples, these normalised as for re-training. Layers are
dealt to the ranks by (model, layer), activations by (run, pair of samples).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from eddyscope.artefacts.analysis import write_analysis
from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.evaluation import read_summary
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import read_normalisation, statistics_of
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import agree
from eddyscope.parallel.world import World
from eddyscope.stages.case import SPLITS_OF_CASE, SYSTEMS, Case
from eddyscope.stages.job import Job, Step, Work, by_networks
from eddyscope.stages.normalise import normalise
from eddyscope.stages.stage import Stage
from eddyscope.storage.small import Attribute

UNTRAINED = 0  # in the key of random weights; repeats of re-training have 1, …


class Analyze(Stage):
    """Spectra of the kernels of all models, and of activations on both systems."""

    name = "analyze"
    summary = "spectra of kernels and activations"

    def plan(self, job: Job) -> list[str]:
        from eddyscope.analysis.size import maps_fit, size_of

        case, keys = job.case, _adapted(job.case)
        if case.without_shells:
            raise CaseError(f"there is nothing to analyze: {case.without_shells}")
        for system in SYSTEMS:
            case.test_members(system)
        network = case.network, case.channels, case.network_grid
        size, maps = size_of(*network, keys), maps_fit(*network)
        return [
            f"kernels of base and {len(keys)} re-trained models ({', '.join(map(str, keys))})",
            f"activations over {case.analysis.samples} test samples of each system",
            f"writes analysis.h5, about {size / 2**20:.0f} MiB"
            + ("" if maps else "; maps of the most changed kernels only: all would be too many"),
        ]

    def left_out(self, job: Job) -> str:
        return job.case.without_shells

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """One step. Collective."""
        case, world, facts = job.case, job.world, job.provenance()
        for system in SYSTEMS:
            case.test_members(system)
        models = {key: job.model(key) for key in (ModelKey(), *_adapted(case))}
        datasets = {system: job.source(system) for system in SYSTEMS}
        own, path = job.normalisation("target"), job.out / "analysis.h5"
        evaluation = job.out / "evaluation.json"
        step = Step(
            self.name,
            sections=("seed", "network", "transfer", "analysis", *SPLITS_OF_CASE),
            inputs=(*models.values(), *map(job.dataset, SYSTEMS), own, evaluation),
            outputs=(path,),
        )

        def analyze(_: Sequence[Step]) -> None:
            best = world.on_root(lambda: read_summary(evaluation).best)
            _analyze(case, models, datasets, own, best, path, world, facts)

        return [*normalise(job, self.name, ["target"]), Work([step], analyze, by_networks())]


def _adapted(case: Case) -> list[ModelKey]:
    """The re-trained models, first repeats alone."""
    return [key for key in case.transfer_models if key.seed is None and key.recipe is None]


def _analyze(
    case: Case,
    paths: Mapping[ModelKey, Path],
    datasets: Mapping[str, Source],
    own: Path,
    best: str | None,
    path: Path,
    world: World,
    facts: Mapping[str, Attribute],
) -> None:
    """Analyse and write to `path`; own: the target's statistics; best: a name. Collective."""
    from eddyscope.analysis import subjects
    from eddyscope.analysis.convolutions import left_out
    from eddyscope.analysis.groups import activation_groups, kernel_groups
    from eddyscope.analysis.size import maps_fit
    from eddyscope.learning.models import load_model
    from eddyscope.networks.registry import redrawn
    from eddyscope.networks.shift import SHIFTED, shift_error, shift_words

    n = case.network_grid
    models = agree(world.comm, lambda: {k: load_model(p, case.network) for k, p in paths.items()})
    runs = subjects.runs_of(models, None if best is None else ModelKey.parse(best))
    read = partial(subjects.test_fields, n=n, channels=case.channels, count=case.analysis.samples)
    fields = {s: world.on_root(partial(read, found)) for s, found in datasets.items()}
    way, home = case.transfer.normalisation, models[ModelKey()].record.normalisation
    there = agree(world.comm, lambda: statistics_of(way, home, read_normalisation(own)))
    networks = {key: model.network for key, model in models.items()}
    base, maps = networks[ModelKey()], maps_fit(case.network, case.channels, n)
    untrained = redrawn(base, (case.seed, UNTRAINED))
    groups = kernel_groups(world, networks, n, case.seed, maps, untrained)
    at_work = subjects.subjects_of(models, runs, fields, {"base": home, "target": there})
    groups |= activation_groups(world, at_work)
    example = world.on_root(partial(read, datasets["base"], count=1))
    groups["example_on_base"] = subjects.example_of(models[ModelKey()], example)
    others = ", ".join(f"{name} ({kind})" for name, kind in left_out(base).items())
    shift = shift_error(base, at_work["base_on_base"].inputs[:SHIFTED])
    facts = {**facts, "n": n, "left_out": others, "shift_error": shift, "normalisation": way}
    world.on_root(lambda: write_analysis(path, groups, runs, facts))
    if others:
        world.say(f"analyze: no two-dimensional convolutions, so without kernels: {others}")
    if shift_words(shift):
        world.say(f"analyze: {shift_words(shift)}")


STAGE = Analyze()
