"""`eddyscope advise`: rank the layers before any of them is re-trained.

Reads models/base.safetensors, a few training samples of the target, and, where a score asks
for them, as many of the base. The statistics that normalise the target's are of the
transfer.samples that `transfer` will use; the scores look at the first advise.samples of those.
Writes advice.json and advice.h5, described in `artefacts/advice.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eddyscope.advisor.scores.registry import SCORES
from eddyscope.artefacts.advice import write_advice
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import agree
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import perform_normalised

if TYPE_CHECKING:
    from eddyscope.advisor.scores.base import Evidence
    from eddyscope.learning.batches import Fields
    from eddyscope.networks.base import LayeredModel


class Advise:
    """The stage."""

    name = "advise"
    summary = "rank the layers by a few target samples, before any is re-trained"

    def plan(self, job: Job) -> list[str]:
        """What would be scored, a line each. Raises CaseError."""
        for system in _systems(job):
            _check_samples(job, system)
        advise = job.case.advise
        layers = len(job.case.layer_names)
        return [
            f"scores: {', '.join(advise.score_names)} of {layers} layers, dealt to "
            f"{job.world.size} rank(s); the advice is by {advise.default_score}",
            f"samples: {_samples(job)} of " + ", ".join(f"the {s}" for s in _systems(job)),
            "writes advice.json and advice.h5, less than 1 MiB",
        ]

    def run(self, job: Job) -> None:
        """Score, unless it is done. Collective."""
        self.plan(job)
        step = Step(
            self.name,
            sections=("network", "advise", "transfer.samples", "filter"),
            inputs=(
                job.base_model,
                job.normalisation("target"),
                *(job.dataset(system) for system in _systems(job)),
            ),
            outputs=(job.out / "advice.json", job.out / "advice.h5"),
        )
        perform_normalised(job, step, lambda: _advise(job))


def _systems(job: Job) -> list[str]:
    """Systems whose samples are read."""
    reads_base = any(SCORES[name].reads_base for name in job.case.advise.score_names)
    return ["target", "base"] if reads_base else ["target"]


def _check_samples(job: Job, system: str) -> None:
    """Raise CaseError unless the system has the samples that are read."""
    name = "transfer.samples" if system == "target" else "advise.samples"
    count = job.case.transfer.samples if system == "target" else _samples(job)
    ensemble = job.case.system(system).ensemble
    available = len(ensemble.parts["train"]) * ensemble.samples
    if count > available:
        raise CaseError(
            f"{name} = {count}, but the {system} ensemble has {available} training samples; lower "
            f"it, or raise {system}.ensemble.members or samples"
        )


def _samples(job: Job) -> int:
    """Samples that scores look at, of each system."""
    return min(job.case.advise.samples, job.case.transfer.samples)


def _advise(job: Job) -> None:
    from eddyscope.advisor.advice import advice_of, curves_of, error_spectrum
    from eddyscope.advisor.ranking import rank_layers
    from eddyscope.learning.device import configure_torch

    world = job.world
    scores = {settings.kind: SCORES.build(settings) for settings in job.case.advise.scores}
    configure_torch(world)
    model, evidence = agree(world.comm, lambda: _read(job))
    rankings = rank_layers(
        model, evidence, scores, world, lambda name: world.say(f"advise: {name}")
    )
    advice = advice_of(scores, rankings, job.case.advise.default_score, _samples(job))
    spectrum = error_spectrum(model, evidence)
    curves = {name: curves_of(ranking) for name, ranking in rankings.items()}
    world.on_root(lambda: write_advice(job.out, advice, spectrum, curves, job.provenance()))
    world.say(f"advise: {advice.reason}")


def _read(job: Job) -> tuple[LayeredModel, Evidence]:
    """The base network and the samples that scores look at. Not collective."""
    from eddyscope.advisor.scores.base import Evidence
    from eddyscope.learning.batches import Samples, load_fields
    from eddyscope.learning.models import load_model

    case, n = job.case, job.case.network_grid
    base = load_model(job.base_model, case.network)

    def fields(system: str, count: int) -> Fields:
        dataset = Dataset(job.dataset(system))
        dataset.require(n, "train")
        return load_fields(dataset, n, "train", count)

    whole = fields("target", case.transfer.samples)
    own = read_normalisation(job.normalisation("target"))
    target = Samples.of(whole.first(_samples(job)), own)
    home = None
    if "base" in _systems(job):
        home = Samples.of(fields("base", _samples(job)), base.normalisation)
    return base.network, Evidence(target, home)


STAGE = Advise()
