"""`eddyscope evaluate`: offline metrics of every model on both systems; how good the advice was.

Reads models/base.safetensors, models/transfer/*, both datasets, and advice.json if it is
there. Every model is tried on the test members of both systems, normalised in its own way: the
base model as its file holds it, the others as they were re-trained; the base model on the target in
every other way too. Metrics are defined in `learning/metrics.py`. Writes evaluation.csv,
evaluation.h5 and evaluation.json, described in `artefacts/evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eddyscope.artefacts.advice import Advice, read_advice
from eddyscope.artefacts.evaluation import write_evaluation
from eddyscope.artefacts.key import ModelKey
from eddyscope.learning.metrics import METRICS
from eddyscope.parallel.world import World
from eddyscope.stages.case import SPLITS_OF_CASE, SYSTEMS
from eddyscope.stages.job import Job, Step, Work, by_networks
from eddyscope.stages.normalise import normalise
from eddyscope.stages.stage import Stage
from eddyscope.storage.small import Attribute

if TYPE_CHECKING:
    from eddyscope.learning.evaluation import Sources

OUTPUTS = ("evaluation.csv", "evaluation.h5", "evaluation.json")


class Evaluate(Stage):
    """The stage."""

    name = "evaluate"
    summary = "try every model on both systems' test members"

    def plan(self, job: Job) -> list[str]:
        """What would be evaluated, a line each. Raises CaseError."""
        case = job.case
        models = (ModelKey(), *case.transfer_models)
        snapshots = {s: sum(map(len, case.test_members(s))) for s in SYSTEMS}
        numbers = (len(METRICS) + 2) * len(models) * sum(snapshots.values())
        return [
            f"models: {len(models)}, dealt to {job.world.size} rank(s)",
            "test snapshots: " + ", ".join(f"{count} of {s}" for s, count in snapshots.items()),
            f"writes {', '.join(OUTPUTS)}, about {8 * numbers / 2**20:.1f} MiB",
        ]

    def notes(self, job: Job) -> list[str]:
        reason = job.case.without_shells
        return [f"no metrics by scale: {reason}"] if reason else []

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """One step. Collective."""
        case, world, facts = job.case, job.world, job.provenance()
        for system in SYSTEMS:
            case.test_members(system)
        models = {key: job.model(key) for key in (ModelKey(), *case.transfer_models)}
        datasets = {system: job.dataset(system) for system in SYSTEMS}
        own = {system: job.normalisation(system) for system in SYSTEMS}
        advice = job.out / "advice.json"
        advised = advice in coming or world.on_root(advice.exists)
        step = Step(
            self.name,
            sections=("network", "training.batch_size", "transfer", "filter", *SPLITS_OF_CASE),
            inputs=(*models.values(), *datasets.values(), *own.values(), *[advice] * advised),
            outputs=tuple(job.out / name for name in OUTPUTS),
        )

        def evaluate(_: Sequence[Step]) -> None:
            from eddyscope.learning.evaluation import sources_read

            names = case.layer_names
            given = world.on_root(lambda: read_advice(advice, names) if advised else None)
            opened = {system: job.source(system) for system in SYSTEMS}
            network = case.network, case.channels, case.network_grid
            with sources_read(world, models, opened, own, *network) as sources:
                _evaluate(sources, given, case.training.batch_size, job.out, world, facts)

        return [*normalise(job, self.name), Work([step], evaluate, by_networks())]


def _evaluate(
    sources: Sources,
    advice: Advice | None,
    batch_size: int,
    out: Path,
    world: World,
    facts: Mapping[str, Attribute],
) -> None:
    """Evaluate and write. Collective."""
    from eddyscope.advisor.summary import summary_of
    from eddyscope.learning.device import configure_torch
    from eddyscope.learning.evaluation import evaluate_all, example_details

    configure_torch(world)
    found = evaluate_all(world, sources, batch_size)
    summary = summary_of(found, sources.own, sources.tests, advice)
    chosen = [s for s in sources.subjects if str(s.key) in ("base", summary.best)]
    shown = {str(s.key): (s.model, sources.normalisation(s, "target")) for s in chosen}

    def write() -> None:
        examples, which = example_details(shown, sources.tests["target"])
        details = {**found.details, "examples": examples}
        write_evaluation(out, found.table, details, summary, {**facts, **which})

    world.on_root(write)


STAGE = Evaluate()
