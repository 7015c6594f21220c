"""`eddyscope advise`: rank the layers before any of them is re-trained.

Reads models/base.safetensors, a few training samples of the target, and, where a score asks
for them, as many of the base. The target's are normalised as `transfer` will normalise its
transfer.samples; the scores look at the first advise.samples of those.
Writes advice/<score>/ for each score, and advice.json and advice.h5 with all of them, described
in `artefacts/advice.py`. One more score leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eddyscope.advisor.scores.registry import SCORES
from eddyscope.artefacts.advice import join_advice
from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.normalisation import read_normalisation, statistics_of
from eddyscope.parallel.failure import agree
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step, Work, by_networks
from eddyscope.stages.normalise import normalise
from eddyscope.stages.stage import Stage

if TYPE_CHECKING:
    from eddyscope.advisor.scores.base import Evidence
    from eddyscope.networks.base import LayeredModel

SECTIONS = ("network", "advise.samples", "transfer.samples", "transfer.normalisation", "filter")

FILES = ("advice.json", "advice.h5")


class Advise(Stage):
    """The stage."""

    name = "advise"
    summary = "rank the layers by a few target samples, before any is re-trained"

    def plan(self, job: Job) -> list[str]:
        """What would be scored, a line each. Raises CaseError."""
        case, advise = job.case, job.case.advise
        _check(case)
        layers = len(case.layer_names)
        systems = ", ".join(f"the {system}" for system in _systems(case, advise.score_names))
        return [
            f"scores: {', '.join(advise.score_names)} of {layers} layers, dealt to "
            f"{job.world.size} rank(s); the advice is by {advise.default_score}",
            f"samples: {case.advise_samples} of {systems}",
            "writes advice.json and advice.h5, less than 1 MiB",
        ]

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """A step a score, and one for all together. Collective."""
        case, world, facts = job.case, job.world, job.provenance()
        _check(case)
        folders = {name: job.out / "advice" / name for name in case.advise.score_names}
        own = job.normalisation("target")
        each = {
            f"advise.{settings.kind}": Step(
                f"advise.{settings.kind}",
                sections=(*SECTIONS, *_splits(_systems(case, [settings.kind]))),
                settings={f"advise.scores.{settings.kind}": settings},
                inputs=(job.base_model, own, *map(job.dataset, _systems(case, [settings.kind]))),
                outputs=tuple(folders[settings.kind] / file for file in FILES),
            )
            for settings in case.advise.scores
        }
        together = Step(
            self.name,
            sections=("network", "advise.default_score"),
            inputs=tuple(path for step in each.values() for path in step.outputs),
            outputs=tuple(job.out / file for file in FILES),
        )

        def score(steps: Sequence[Step]) -> None:
            from eddyscope.advisor.advice import write_rankings
            from eddyscope.learning.device import configure_torch

            configure_torch(world)
            names = [name for name in folders if each[f"advise.{name}"] in steps]
            homes = [job.source("base")] if "base" in _systems(case, names) else []
            read = agree(
                world.comm, lambda: _read(case, job.base_model, own, job.source("target"), *homes)
            )
            scores = {s.kind: SCORES.build(s) for s in case.advise.scores if s.kind in names}
            write_rankings(*read, scores, folders, world, facts)

        def join(_: Sequence[Step]) -> None:
            default = case.advise.default_score
            advice = world.on_root(lambda: join_advice(job.out, folders, default, facts))
            world.say(f"advise: {advice.reason}")

        scoring = Work([*each.values()], score, by_networks())
        return [*normalise(job, self.name, ["target"]), scoring, Work([together], join)]


def _systems(case: Case, scores: Sequence[str]) -> list[str]:
    """Systems whose samples these scores read."""
    return ["target", "base"] if any(SCORES[name].reads_base for name in scores) else ["target"]


def _splits(systems: Sequence[str]) -> list[str]:
    return [f"{system}.ensemble.split" for system in systems]


def _check(case: Case) -> None:
    """Raise CaseError unless the systems have the samples that are read."""
    case.training_samples("target")
    if "base" in _systems(case, case.advise.score_names):
        ensemble = case.system("base").ensemble
        ensemble.training_samples("base", "advise.samples", case.advise_samples)


def _read(
    case: Case, base: Path, own: Path, target: Source, home: Source | None = None
) -> tuple[LayeredModel, Evidence]:
    """The base network, and the samples of the datasets that scores look at. Not collective."""
    from eddyscope.advisor.advice import evidence_of
    from eddyscope.learning.models import load_model

    model, n = load_model(base, case.network), case.network_grid
    counts, stored = (case.transfer.samples, case.advise_samples), model.record.normalisation
    way = statistics_of(case.transfer.normalisation, stored, read_normalisation(own))
    return model.network, evidence_of(target, way, counts, n, home, stored, case.channels)


STAGE = Advise()
