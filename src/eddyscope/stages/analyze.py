"""`eddyscope analyze`: what the kernels and activations look like in Fourier space.

Writes analysis.h5, described in `artefacts/analysis.py`. Kernels: the base model and every
re-trained one (first repeat). Activations: the base model on base and on target samples, the
best single-layer model (as evaluated) and `all` on target samples, each system normalised by its
own training samples. Layers are dealt to the ranks by (model, layer), activations by (run, pair
of samples). One held-out sample of the base is kept beside what the base model makes of it.
"""

from __future__ import annotations

from functools import partial

from eddyscope.artefacts.analysis import write_analysis
from eddyscope.artefacts.evaluation import read_summary
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.stages.case import SYSTEMS
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import perform_normalised

UNTRAINED = 0
"""In the key of random weights that nothing is trained from; repeats of re-training have 1, …"""


class Analyze:
    """Spectra of the kernels of all models, and of activations on both systems."""

    name = "analyze"
    summary = "spectra of kernels and activations"

    def plan(self, job: Job) -> list[str]:
        """What would be analysed and written, a line each. Raises CaseError."""
        from eddyscope.analysis.size import maps_fit, size_of

        case, keys = job.case, _adapted(job)
        for system in SYSTEMS:
            job.case.test_members(system)
        network = case.network, case.channels, case.network_grid
        size, maps = size_of(*network, keys), maps_fit(*network)
        return [
            f"kernels of base and {len(keys)} re-trained models ({', '.join(map(str, keys))})",
            f"activations over {case.analysis.samples} test samples of each system",
            f"writes analysis.h5, about {size / 2**20:.0f} MiB"
            + ("" if maps else "; maps of the most changed kernels only: all would be too many"),
        ]

    def run(self, job: Job) -> None:
        """Do it, unless it is done. Collective."""
        for system in SYSTEMS:
            job.case.test_members(system)
        step = Step(
            self.name,
            sections=("seed", "network", "transfer", "analysis"),
            inputs=(
                *(job.model(key) for key in (ModelKey(), *_adapted(job))),
                *(job.dataset(system) for system in SYSTEMS),
                *(job.normalisation(system) for system in SYSTEMS),
                job.out / "evaluation.json",
            ),
            outputs=(job.out / "analysis.h5",),
        )
        perform_normalised(job, step, lambda: _analyze(job))


def _adapted(job: Job) -> list[ModelKey]:
    """The re-trained models, first repeats alone."""
    return [key for key in job.case.transfer_models if key.seed is None]


def _analyze(job: Job) -> None:
    from eddyscope.analysis import subjects
    from eddyscope.analysis.convolutions import left_out
    from eddyscope.analysis.groups import activation_groups, kernel_groups
    from eddyscope.analysis.size import maps_fit
    from eddyscope.learning.models import load_model
    from eddyscope.networks.registry import redrawn

    case, world, n = job.case, job.world, job.case.network_grid
    paths = {key: job.model(key) for key in (ModelKey(), *_adapted(job))}
    models = world.on_root(lambda: {k: load_model(p, case.network) for k, p in paths.items()})
    best = world.on_root(lambda: read_summary(job.out / "evaluation.json").best)
    runs = subjects.runs_of(models, None if best is None else ModelKey.parse(best))
    read = partial(subjects.test_fields, n=n, count=case.analysis.samples)
    fields = {s: world.on_root(partial(read, job.dataset(s))) for s in SYSTEMS}
    own = {s: world.on_root(partial(read_normalisation, job.normalisation(s))) for s in SYSTEMS}
    networks = {key: model.network for key, model in models.items()}
    maps = maps_fit(case.network, case.channels, n)
    untrained = redrawn(networks[ModelKey()], (case.seed, UNTRAINED))
    groups = kernel_groups(world, networks, n, case.seed, maps, untrained)
    groups |= activation_groups(world, subjects.subjects_of(models, runs, fields, own))
    example = world.on_root(partial(read, job.dataset("base"), count=1))
    groups["example_on_base"] = subjects.example_of(models[ModelKey()], example)
    others = ", ".join(left_out(networks[ModelKey()]))
    facts = {**job.provenance(), "n": n, "left_out": others}
    world.on_root(lambda: write_analysis(job.out / "analysis.h5", groups, runs, facts))
    if others:
        world.say(f"analyze: no convolutions, so without kernels: {others}")


STAGE = Analyze()
