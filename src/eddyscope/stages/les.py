"""`eddyscope les`: closures back in the solver, at the filter's resolution, against filtered DNS.

Every test member of the target starts from its first filtered sample; (closure, member)
pairs are dealt to the ranks. Writes les/<closure>.h5 for each closure and les/dns.h5, the
same statistics of the filtered DNS over the same time, with

    time, energy, enstrophy          (member, record)      NaN after a blow-up
    energy_spectrum                  (member, wavenumber)  mean over the records
    vorticity_pdf                    (member, vorticity_bin)
    stable, blow_up_time             (member)              blow_up_time is NaN if stable
    omega                            (member, y, x)        at the last finite record
    member, record, wavenumber, vorticity_bin, y, x        coordinates

and attributes `closure` and `model` (the artefact's name, or "none" or "dns").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.evaluation import read_best
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.closures.on_points import OnPoints, PointModel
from eddyscope.config.errors import CaseError
from eddyscope.filtering.kernels import FILTERS
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import agree
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World
from eddyscope.solver.closure import Closure, NoClosure
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.pace import FixedPace
from eddyscope.solver.schedule import FixedSteps, whole_steps
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.simulation import Simulation
from eddyscope.spectral.grid import BOX, Grid
from eddyscope.spectral.half_plane import kept_modes, to_points
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Step
from eddyscope.stages.normalise import normalise
from eddyscope.storage.layout import Variable, write_artefact

BINS = 60
"""Bins of the vorticity PDF, over 1.2 times the range of the filtered DNS."""


@dataclass(frozen=True)
class Clock:
    """The steps of the LES."""

    dt: float
    every: int
    """Steps between records."""
    records: int
    """Records, the initial state included."""


def plan(job: Job) -> list[str]:
    """What would be run, a line each. Raises CaseError."""
    case, clock = job.case, make_clock(job.case)
    check_closures(case)
    members = _test_members(case)
    pairs = len(members) * len(case.les.closures)
    return [
        f"closures: {', '.join(case.les.closures)}; {len(members)} test member(s) of the target",
        f"{(clock.records - 1) * clock.every} steps of dt = {clock.dt:g} on "
        f"{case.network_grid} x {case.network_grid} modes",
        f"{pairs} runs, dealt to {job.world.size} rank(s)",
    ]


def run(job: Job) -> None:
    """Run every closure. Collective."""
    make_clock(job.case)
    check_closures(job.case)
    closures = job.case.les.closures
    models = job.world.on_root(lambda: _model_files(job))
    normalise(job, "target")
    step = Step(
        name="les",
        sections=("seed", "grid.dealias", "time", "filter", "network", "les", "target"),
        inputs=(job.dataset("target"), job.normalisation("target"), *models.values()),
        outputs=tuple(job.out / "les" / f"{name}.h5" for name in ("dns", *closures)),
    )
    job.perform(step, lambda: _simulate_all(job, models))


def make_clock(case: Case) -> Clock:
    """The LES's time steps. CaseError if times are not whole numbers of steps."""
    les, dt = case.les, case.les.dt or case.time.dt
    if dt is None:
        raise CaseError("les.dt is missing: time.cfl gives the LES no fixed step; set les.dt")
    interval = les.interval or case.system("target").ensemble.interval
    every = whole_steps("les.interval (or target.ensemble.interval)", interval, dt, "les.dt")
    return Clock(dt, every, int(les.duration / interval + 1e-9) + 1)


def check_closures(case: Case) -> None:
    """Raise CaseError for a closure that this case does not make."""
    models = {str(key) for key in case.transfer_models}
    allowed = ["none", "base", "best", *sorted(models)]
    for name in case.les.closures:
        if name not in allowed:
            near = get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CaseError(f"les.closures names {name!r}; allowed: {', '.join(allowed)}{hint}")


def _test_members(case: Case) -> list[int]:
    members = list(case.system("target").ensemble.parts["test"])
    if not members:
        raise CaseError(
            "les starts from the target's test members, and there are none; raise "
            "target.ensemble.members to 2 or more"
        )
    return members


def _model_files(job: Job) -> dict[str, Path]:
    """Closure's name -> artefact, of the closures that are models."""
    return {name: _model_file(job, name) for name in job.case.les.closures if name != "none"}


def _model_file(job: Job, name: str) -> Path:
    if name == "base":
        return job.base_model
    if name == "best":
        name = str(read_best(job.out / "evaluation.json"))
    return job.model(ModelKey.parse(name))


def _simulate_all(job: Job, models: Mapping[str, Path]) -> None:
    case, world = job.case, job.world
    dataset = agree(world.comm, lambda: _open(job))
    clock, members = make_clock(case), _test_members(case)
    closures = agree(world.comm, lambda: {n: _learned(job, models[n]) for n in models})
    n, start = (
        case.network_grid,
        dataset.read(case.network_grid, "omega", members, slice(0, 1))[:, :, 0],
    )
    reference = [_of_dns(case, dataset, clock, m) for m in members]
    edges = _bin_edges(reference)
    items = [(name, i) for name in case.les.closures for i in range(len(members))]
    progress = Progress(world, "les", -(-len(items) // world.size))
    done = 0

    def one(item: tuple[str, int]) -> dict[str, Any]:
        nonlocal done
        name, i = item
        found = _simulate(case, clock, start[i, 0], closures.get(name))
        done += 1
        progress.update(done, name)
        return found

    results = map_in_order(world, one, items)
    if not world.is_root:
        return
    by_closure = {"dns": reference} | {
        name: [r for (other, _), r in zip(items, results, strict=True) if other == name]
        for name in case.les.closures
    }
    for name, found in by_closure.items():
        model = models[name].stem if name in models else name
        attributes = {**job.provenance(), "closure": name, "model": model, "dt": clock.dt}
        write_artefact(
            job.out / "les" / f"{name}.h5", _variables(found, members, clock, n, edges), attributes
        )


def _open(job: Job) -> Dataset:
    dataset = Dataset(job.dataset("target"))
    dataset.require(job.case.network_grid, "test")
    return dataset


def _learned(job: Job, path: Path) -> PointModel:
    """The model as a closure; the base model with the target's normalisation, as evaluated."""
    from eddyscope.closures.learned import LearnedClosure

    closure = LearnedClosure.from_file(path, job.case.network)
    if path == job.base_model:
        target = read_normalisation(job.normalisation("target"))
        closure = LearnedClosure(closure.model, target)
    return closure


def _simulate(
    case: Case, clock: Clock, omega: NDArray[Any], model: PointModel | None
) -> dict[str, Any]:
    """One member with one closure, on this rank alone."""
    simulation = _start(case, clock, omega, model)
    diagnostics = Diagnostics(simulation.flow)
    states = [simulation.omega_hat.copy()]
    with np.errstate(over="ignore", invalid="ignore"):  # a run may blow up: that is a result
        for record in range(1, clock.records):
            simulation.run(record, [])
            if not np.isfinite(simulation.omega_hat).all():
                break
            states.append(simulation.omega_hat.copy())
    return _statistics(diagnostics, states)


def _start(case: Case, clock: Clock, omega: NDArray[Any], model: PointModel | None) -> Simulation:
    n = case.network_grid
    mesh = World.single().mesh(members=1, rows=n // 2)
    settings = case.system("target").flow
    grid, layers = Grid(n, case.grid.dealias), FLOWS[settings.kind].layers
    transform = TRANSFORMS.build(TRANSFORMS.settings("fftw"), grid, mesh, layers)
    response = FILTERS.build(case.filter, n).transfer
    flow = FLOWS.build(settings, transform, forcing_response=response, seed=case.seed)
    closure: Closure = NoClosure() if model is None else OnPoints(model, transform)
    omega_hat = transform.zeros_spectral()
    omega_hat[0, 0] = transform.take(kept_modes(omega.astype(np.float64)))
    stepper = SCHEMES.build(case.time.scheme, flow, clock.dt)
    schedule = FixedSteps.of(0, clock.every, clock.records, 1, clock.dt)
    pace = FixedPace(schedule)
    return Simulation(flow, stepper, closure, omega_hat, schedule, pace)


def _of_dns(case: Case, dataset: Dataset, clock: Clock, member: int) -> dict[str, Any]:
    """The statistics of the filtered DNS over the time of the LES."""
    fields = dataset.read(case.network_grid, "omega", [member])[0, :, 0].astype(np.float64)
    times = dataset.time[member] - dataset.time[member, 0]
    fields = fields[times <= case.les.duration + 1e-9]
    simulation = _start(case, clock, fields[0], None)
    take = simulation.flow.transform.take
    states = [take(kept_modes(field))[None, None] for field in fields]
    found = _statistics(Diagnostics(simulation.flow), states)
    return {**found, "times": times[: len(fields)]}


def _statistics(diagnostics: Diagnostics, states: list[NDArray[Any]]) -> dict[str, Any]:
    """Energy, enstrophy, mean spectrum and vorticity of the states of one member."""
    means = [diagnostics.means(state, 0.0, 0) for state in states]
    spectra = [diagnostics.energy_spectrum(state)[0] for state in states]
    transform = diagnostics.flow.transform
    whole = [transform.gather(state, transform.grid.n)[0][0] for state in states]
    return {
        "energy": [float(m["energy"][0]) for m in means],
        "enstrophy": [float(m["enstrophy"][0]) for m in means],
        "energy_spectrum": np.mean(spectra, axis=0),
        "omega": to_points(np.stack(whole)),
    }


def _bin_edges(reference: list[dict[str, Any]]) -> NDArray[np.float64]:
    largest = 1.2 * max(float(np.abs(r["omega"]).max()) for r in reference)
    return np.linspace(-largest, largest, BINS + 1)


def _pdf(omega: NDArray[Any], edges: NDArray[Any]) -> NDArray[np.float64]:
    """Probability density of the vorticity; what lies beyond the edges counts as outside."""
    counts, _ = np.histogram(omega, edges)
    density: NDArray[np.float64] = counts / (omega.size * np.diff(edges))
    return density


def _variables(
    found: list[dict[str, Any]], members: list[int], clock: Clock, n: int, edges: NDArray[Any]
) -> dict[str, Variable]:
    interval = clock.dt * clock.every
    records = max(clock.records, *(len(f["energy"]) for f in found))
    is_dns = "times" in found[0]
    times = np.full((len(found), records), np.nan)
    for row, f in zip(times, found, strict=True):
        known = f["times"] if is_dns else np.arange(records) * interval
        row[: len(known)] = known
    stable = np.array([is_dns or len(f["energy"]) == records for f in found])
    blown = [
        np.nan if ok else len(f["energy"]) * interval for ok, f in zip(stable, found, strict=True)
    ]
    points = np.arange(n) * (BOX / n)
    return {
        "member": Variable(("member",), np.array(members), long_name="ensemble member"),
        "record": Variable(("record",), np.arange(records), long_name="record number"),
        "wavenumber": Variable(("wavenumber",), np.arange(1.0, n // 2), long_name="wavenumber k"),
        "vorticity_bin": Variable(
            ("vorticity_bin",), 0.5 * (edges[1:] + edges[:-1]), long_name="vorticity, bin centres"
        ),
        "y": Variable(("y",), points, long_name="coordinate y"),
        "x": Variable(("x",), points, long_name="coordinate x"),
        "time": Variable(("member", "record"), times, long_name="time since the start"),
        "energy": _series(found, "energy", records, "kinetic energy, mean of |u|²/2"),
        "enstrophy": _series(found, "enstrophy", records, "enstrophy, mean of ω²/2"),
        "energy_spectrum": Variable(
            ("member", "wavenumber"),
            np.stack([f["energy_spectrum"] for f in found]),
            long_name="energy spectrum E(k), mean over the records",
        ),
        "vorticity_pdf": Variable(
            ("member", "vorticity_bin"),
            np.stack([_pdf(f["omega"], edges) for f in found]),
            long_name="probability density of the vorticity over all records",
        ),
        "stable": Variable(("member",), stable.astype("uint8"), long_name="1 if always finite"),
        "blow_up_time": Variable(
            ("member",), np.array(blown), long_name="time by which it was not finite"
        ),
        "omega": Variable(
            ("member", "y", "x"),
            np.stack([f["omega"][-1] for f in found]).astype("float32"),
            long_name="vorticity at the last finite record",
        ),
    }


def _series(found: list[dict[str, Any]], name: str, records: int, text: str) -> Variable:
    table = np.full((len(found), records), np.nan)
    for row, f in zip(table, found, strict=True):
        row[: len(f[name])] = f[name]
    return Variable(("member", "record"), table, long_name=text)
