"""`eddyscope les`: closures back in the solver, at the filter's resolution, against filtered DNS.

Every test member of the target starts from its first filtered sample; (closure, member)
pairs are dealt to the ranks. Writes les/<closure>.h5 for each closure and les/dns.h5, the
same statistics of the filtered DNS over the same time: see `artefacts/les.py`.
"""

from __future__ import annotations

import numpy as np

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.les import FILTERED_DNS, MemberStatistics, write_les
from eddyscope.closures.base import Sources
from eddyscope.closures.large_eddy import ROUNDING, LargeEddySimulation, bin_edges, les_schedule
from eddyscope.closures.registry import CLOSURES
from eddyscope.config.arrays import AnyArray, FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.filtering.kernels import FILTERS
from eddyscope.flows.base import Flow
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import agree
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.work import map_in_order
from eddyscope.solver.schedule import FixedSteps
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.transform import Transform
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import perform_normalised
from eddyscope.storage.small import Attribute


class Les:
    name = "les"
    summary = "run closures back in large-eddy simulation"

    def plan(self, job: Job) -> list[str]:
        case, schedule = job.case, schedule_of(job.case)
        names, members, n = closures_of(case), test_members(case), case.network_grid
        return [
            f"closures: {', '.join(names)}; {len(members)} test member(s) of the target",
            f"{schedule.total_steps} steps of dt = {schedule.dt:g} on {n} x {n} modes",
            f"{len(members) * len(names)} runs, dealt to {job.world.size} rank(s)",
        ]

    def run(self, job: Job) -> None:
        self.plan(job)
        sources, closures = sources_of(job), job.case.les.closures
        read = job.world.on_root(lambda: [p for c in closures for p in c.reads(sources)])
        names = (FILTERED_DNS, *closures_of(job.case))
        step = Step(
            name=self.name,
            sections=("seed", "grid.dealias", "time", "filter", "network", "les", "target"),
            inputs=(job.dataset("target"), *dict.fromkeys(read)),
            outputs=tuple(job.out / "les" / f"{name}.h5" for name in names),
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


def test_members(case: Case) -> list[int]:
    """CaseError if there are none."""
    members = list(case.system("target").ensemble.parts["test"])
    if not members:
        raise CaseError(
            "les starts from the target's test members, and there are none; raise "
            "target.ensemble.members to 2 or more"
        )
    return members


def sources_of(job: Job) -> Sources:
    evaluation, network = job.out / "evaluation.json", job.case.network
    return Sources(job.models, job.normalisation("target"), evaluation, network)


def simulation_of(case: Case) -> LargeEddySimulation:
    """What all runs have in common."""
    n, settings = case.network_grid, case.system("target").flow
    response = FILTERS.build(case.filter, n).transfer

    def make_flow(transform: Transform) -> Flow:
        flow: Flow = FLOWS.build(settings, transform, forcing_response=response, seed=case.seed)
        return flow

    return LargeEddySimulation(
        make_flow=make_flow,
        grid=Grid(n, case.grid.dealias),
        layers=FLOWS[settings.kind].layers,
        filter_width=case.filter.delta(n),
        time=case.time,
        schedule=schedule_of(case),
    )


def simulate_all(job: Job) -> None:
    """Run every closure on every test member. Collective."""
    case, world, les = job.case, job.world, simulation_of(job.case)
    closures, members, sources = case.les.closures, test_members(case), sources_of(job)
    models = agree(world.comm, lambda: [CLOSURES.build(c, sources) for c in closures])
    fields, times = agree(world.comm, lambda: filtered(job, members))
    edges = bin_edges(field for fields_of in fields for field in fields_of)
    items = [(c, m) for c in range(len(closures)) for m in range(len(members))]
    progress = Progress(world, "les", -(-len(items) // world.size))
    done = 0

    def one(item: tuple[int, int]) -> MemberStatistics:
        nonlocal done
        c, m = item
        found = les.run(models[c], members[m], fields[m][0], edges)
        done += 1
        progress.update(done, closures[c].text)
        return found

    results = map_in_order(world, one, items)

    def write() -> None:
        each = zip(members, fields, times, strict=True)
        dns = [les.of_dns(member, samples, since, edges) for member, samples, since in each]
        tables = {FILTERED_DNS: (FILTERED_DNS, dns)}
        for c, closure in enumerate(closures):
            found = [result for item, result in zip(items, results, strict=True) if item[0] == c]
            tables[closure.text] = (models[c].label, found)
        for name, (model, found) in tables.items():
            facts: dict[str, Attribute] = {"closure": name, "model": model, "dt": les.schedule.dt}
            path = job.out / "les" / f"{name}.h5"
            write_les(path, members, found, edges, {**job.provenance(), **facts})

    world.on_root(write)


def filtered(job: Job, members: list[int]) -> tuple[list[AnyArray], list[FloatArray]]:
    """Each test member's filtered vorticity (sample, layer, y, x) over the time of the LES, and
    the samples' times from the first on. CaseError if the dataset cannot be used."""
    case, dataset = job.case, Dataset(job.dataset("target"))
    dataset.require(case.network_grid, "test")
    fields, times = [], []
    for member in members:
        since = dataset.time[member] - dataset.time[member, 0]
        kept = int(np.count_nonzero(since <= case.les.duration + ROUNDING))
        fields.append(dataset.read(case.network_grid, "omega", [member], slice(0, kept))[0])
        times.append(since[:kept])
    return fields, times


STAGE = Les()
