"""`eddyscope les`: closures back in the solver, at the filter's resolution, against filtered DNS.

Every test member of the target starts from its first filtered sample. Writes les/<closure>.h5
for each closure and les/dns.h5, the same statistics of the DNS: see `artefacts/les.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.les import FILTERED_DNS
from eddyscope.closures.base import ClosureSettings, Sources
from eddyscope.closures.comparison import Truth, run_closures
from eddyscope.closures.large_eddy import LargeEddySimulation, les_schedule
from eddyscope.closures.registry import CLOSURES
from eddyscope.config.errors import CaseError
from eddyscope.filtering.kernels import FILTERS
from eddyscope.flows.registry import FLOWS
from eddyscope.solver.schedule import FixedSteps
from eddyscope.spectral.grid import Grid
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step, Work, by_solver
from eddyscope.stages.les_target import Target
from eddyscope.stages.normalise import normalise
from eddyscope.stages.stage import Stage

SECTIONS = ("seed", "paired", "grid.dealias", "transform", "time", "filter", "target")
"""Of the case, what decides the flow."""


class Les(Stage):
    name = "les"
    summary = "run closures back in large-eddy simulation"

    def plan(self, job: Job) -> list[str]:
        case, n, target = job.case, job.case.network_grid, Target.of(job.case)
        schedule = schedule_of(case, target)
        names, members = closures_of(case), case.test_members("target")
        LargeEddySimulation.check(target.flow, Grid(n, target.dealias))
        batches = job.world.on_root(case.transform.in_batches)
        return [
            f"closures: {', '.join(names)}; {len(members)} test member(s) of the target",
            f"{schedule.total_steps} steps of dt = {schedule.dt:g} on {n} x {n} modes",
            f"{len(members) * len(names)} runs, dealt to {job.world.size} rank(s)"
            + batches * ", a closure's members of a rank in one batch",
        ]

    def left_out(self, job: Job) -> str:
        asked = "les" in job.case.model_fields_set
        return "" if asked else Target.unknown(job.case)

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """A step a closure, and one for the filtered DNS; what is missing is run together."""
        case, world, facts, dataset = job.case, job.world, job.provenance(), job.dataset("target")
        sources = Sources(
            job.models,
            job.normalisation("target"),
            job.out / "evaluation.json",
            case.network,
            job.base_model,
        )
        self.plan(job)
        closures = {closure.text: closure for closure in case.les.closures}
        blocks, source = case.test_members("target"), job.source("target")
        test = Truth(source, case.network_grid, blocks, case.les.duration)
        paths = {name: job.out / f"les/{name}.h5" for name in (FILTERED_DNS, *closures)}
        read = world.on_root(lambda: {k: _reads(c, sources, coming) for k, c in closures.items()})
        steps = {
            name: Step(
                f"{self.name}.{name}",
                sections=(*SECTIONS, "network", "les"),
                inputs=(dataset, *read.get(name, ())),
                outputs=(path,),
            )
            for name, path in paths.items()
        }

        def run(pending: Sequence[Step]) -> None:
            wanted = {name: path for name, path in paths.items() if steps[name] in pending}
            chosen = [closure for name, closure in closures.items() if name in wanted]
            run_closures(simulation_of(case), chosen, sources, test, wanted, world, facts)

        needed = {file for files in read.values() for file in files}
        own = ["target"] if needed & {sources.normalisation, sources.evaluation} else []
        return [*normalise(job, self.name, own), Work([*steps.values()], run, by_solver(case))]


def _reads(closure: ClosureSettings, sources: Sources, coming: Collection[Path]) -> list[Path]:
    """Files that decide a closure; while those are not made that say which, these."""
    chosen_by = closure.chosen_by(sources)
    return list(chosen_by if set(chosen_by) & set(coming) else closure.reads(sources))


def schedule_of(case: Case, target: Target) -> FixedSteps:
    """The LES's steps and records. CaseError if times are not whole numbers of steps."""
    les, dt = case.les, case.les.dt or target.time.dt
    if dt is None:
        raise CaseError("les.dt is missing: time.cfl gives the LES no fixed step; set les.dt")
    interval = les.interval or case.system("target").ensemble.interval
    return les_schedule(les.duration, interval, dt)


def closures_of(case: Case) -> list[str]:
    """Names of the closures. CaseError for one that this case does not make."""
    models = [str(key) for key in (ModelKey(), *case.transfer_models)]
    for closure in case.les.closures:
        closure.check(models, list(CLOSURES))
    return [closure.text for closure in case.les.closures]


def simulation_of(case: Case) -> LargeEddySimulation:
    """What all runs have in common."""
    n, target = case.network_grid, Target.of(case)
    response, seed = FILTERS.build(target.filter, n).response, case.flow_seed("target")
    return LargeEddySimulation(
        make_flow=partial(FLOWS.build, target.flow, forcing_response=response, seed=seed),
        grid=Grid(n, target.dealias),
        transform=case.transform,
        layers=FLOWS[target.flow.kind].layers,
        filter_width=target.filter.delta(n),
        time=target.time,
        schedule=schedule_of(case, target),
    )


STAGE = Les()
