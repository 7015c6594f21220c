"""`eddyscope les`: closures back in the solver, at the filter's resolution, against filtered DNS.

Every test member of the target starts from its first filtered sample. Writes les/<closure>.h5
for each closure and les/dns.h5, the same statistics of the DNS: see `artefacts/les.py`.
"""

from __future__ import annotations

from functools import partial

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.les import FILTERED_DNS, MemberStatistics, write_les
from eddyscope.closures.base import Sources
from eddyscope.closures.large_eddy import LargeEddySimulation, bin_edges, filtered_dns, les_schedule
from eddyscope.closures.registry import CLOSURES
from eddyscope.config.errors import CaseError
from eddyscope.filtering.kernels import FILTERS
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import agree
from eddyscope.solver.schedule import FixedSteps
from eddyscope.spectral.grid import Grid
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import perform_normalised
from eddyscope.storage.small import Attribute


class Les:
    name = "les"
    summary = "run closures back in large-eddy simulation"

    def plan(self, job: Job) -> list[str]:
        case, schedule = job.case, schedule_of(job.case)
        names, members, n = closures_of(case), case.test_members("target"), case.network_grid
        LargeEddySimulation.check(case.system("target").flow, Grid(n, case.grid.dealias))
        return [
            f"closures: {', '.join(names)}; {len(members)} test member(s) of the target",
            f"{schedule.total_steps} steps of dt = {schedule.dt:g} on {n} x {n} modes",
            f"{len(members) * len(names)} runs, dealt to {job.world.size} rank(s)",
        ]

    def run(self, job: Job) -> None:
        self.plan(job)
        sources, closures = sources_of(job), job.case.les.closures
        read = job.world.on_root(lambda: [p for c in closures for p in c.reads(sources)])
        flow = ("seed", "paired", "grid.dealias", "transform", "time", "filter", "target")
        step = Step(
            name=self.name,
            sections=(*flow, "network", "les"),
            inputs=(job.dataset("target"), *dict.fromkeys(read)),
            outputs=tuple(job.out / f"les/{c}.h5" for c in (FILTERED_DNS, *closures_of(job.case))),
        )
        perform_normalised(job, step, lambda: simulate_all(job))


def schedule_of(case: Case) -> FixedSteps:
    """The LES's steps and records. CaseError if times are not whole numbers of steps."""
    les, dt = case.les, case.les.dt or case.time.dt
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


def sources_of(job: Job) -> Sources:
    evaluation = job.out / "evaluation.json"
    return Sources(job.models, job.normalisation("target"), evaluation, job.case.network)


def simulation_of(case: Case) -> LargeEddySimulation:
    """What all runs have in common."""
    n, settings = case.network_grid, case.system("target").flow
    response, seed = FILTERS.build(case.filter, n).response, case.flow_seed("target")
    return LargeEddySimulation(
        make_flow=partial(FLOWS.build, settings, forcing_response=response, seed=seed),
        grid=Grid(n, case.grid.dealias),
        transform=case.transform,
        layers=FLOWS[settings.kind].layers,
        filter_width=case.filter.delta(n),
        time=case.time,
        schedule=schedule_of(case),
    )


def simulate_all(job: Job) -> None:
    """Run every closure on every test member. Collective."""
    case, world, les = job.case, job.world, simulation_of(job.case)
    closures, members, sources = case.les.closures, case.test_members("target"), sources_of(job)
    models = agree(world.comm, lambda: [CLOSURES.build(c, sources) for c in closures])
    of_dns = job.dataset("target"), case.network_grid, members, case.les.duration
    fields, times = agree(world.comm, lambda: filtered_dns(*of_dns))
    edges = bin_edges(field for fields_of in fields for field in fields_of)
    found = les.run_all(world, models, members, [samples[0] for samples in fields], edges)

    def write(name: str, key: ModelKey | None, statistics: list[MemberStatistics]) -> None:
        facts: dict[str, Attribute] = {**job.provenance(), "dt": les.schedule.dt}
        facts |= {"closure": name, "model": str(key or "")}
        write_les(job.out / f"les/{name}.h5", members, statistics, edges, facts)

    def write_all() -> None:
        each = zip(members, fields, times, strict=True)
        write(FILTERED_DNS, None, [les.of_dns(*of_member, edges) for of_member in each])
        for closure, model, statistics in zip(closures, models, found, strict=True):
            write(closure.text, model.key, statistics)

    world.on_root(write_all)


STAGE = Les()
