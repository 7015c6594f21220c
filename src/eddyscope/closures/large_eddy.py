"""Large-eddy simulation of one member with one closure, on this rank alone, and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.dataset.split import Block
from eddyscope.artefacts.les import MemberStatistics
from eddyscope.closures.base import SubgridModel
from eddyscope.config.arrays import ComplexArray, FloatArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.flows.base import Flow
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World
from eddyscope.solver.assemble import assemble
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schedule import FixedSteps, whole_steps
from eddyscope.solver.settings import TimeSettings
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.half_plane import kept_modes, to_points
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.spectral.transform import Transform, TransformSettings

__all__ = ["LargeEddySimulation", "bin_edges", "filtered_dns", "les_schedule"]

BINS = 60
"""Bins of the vorticity's probability density."""

BEYOND = 1.2
"""Times the largest vorticity of the filtered DNS up to which the bins reach."""

ROUNDING = 1e-9
"""By which times may be off: they are sums of steps."""

LARGEST_RECORD_COUNT = 10**7
"""Records at the most: their energies are kept in memory until the end."""


def les_schedule(duration: float, interval: float, dt: float) -> FixedSteps:
    """Steps and records of the LES. CaseError if times are not whole numbers of steps."""
    every = whole_steps("les.interval (or target.ensemble.interval)", interval, dt, "les.dt")
    if every < 1:
        raise CaseError(f"les.interval = {interval:g} is less than les.dt = {dt:g}; raise it")
    if not duration / interval < LARGEST_RECORD_COUNT:
        raise CaseError(
            f"les.duration = {duration:g} has more than {LARGEST_RECORD_COUNT} records at "
            f"les.interval = {interval:g}; raise les.interval"
        )
    records = int(duration / interval + ROUNDING) + 1
    return FixedSteps.of(0, every, records, 1, dt)


@dataclass(frozen=True)
class LargeEddySimulation:
    """What all members and closures have in common."""

    make_flow: Callable[[Transform], Flow]
    """The filtered flow on a transform."""
    grid: Grid
    transform: TransformSettings
    layers: int
    filter_width: float
    time: TimeSettings
    schedule: FixedSteps

    @staticmethod
    def check(settings: Any, grid: Grid) -> None:
        """CaseError where the coarse grid does not resolve the flow that its `settings` say."""
        try:
            FLOWS[settings.kind].check(settings, grid)
        except CaseError as error:
            raise CaseError(f"les runs the target on n = {grid.n}: {error}") from None

    def run(
        self, model: SubgridModel, member: int, start: RealArray, edges: FloatArray
    ) -> MemberStatistics:
        """Advance `start`, vorticity (layer, y, x), with a closure. Not collective."""
        flow = self._flow_of(member)
        closure = model.on(flow, self.filter_width)
        simulation = assemble(flow, self.time, self.schedule, closure)
        simulation.omega_hat[0] = _modes(flow, start)

        def states() -> Iterator[ComplexArray]:
            yield simulation.omega_hat
            for record in range(1, self.schedule.last + 1):
                simulation.run(record, [])
                if not flow.transform.loops.all_finite(simulation.omega_hat):
                    return
                yield simulation.omega_hat

        with np.errstate(over="ignore", invalid="ignore"):  # a run may blow up: that is a result
            return _statistics(flow, states(), np.asarray(self.schedule.times), edges)

    def run_all(
        self,
        world: World,
        models: Sequence[SubgridModel],
        members: Sequence[int],
        starts: Sequence[RealArray],
        edges: FloatArray,
    ) -> list[list[MemberStatistics]]:
        """Every model on every member, dealt to the ranks; all ranks get a list for each model.
        Collective."""
        self.transform.prepare(world.comm)
        items = [(c, m) for c in range(len(models)) for m in range(len(members))]
        progress = Progress(world, "les", -(-len(items) // world.size))
        done = 0

        def one(item: tuple[int, int]) -> MemberStatistics:
            nonlocal done
            c, m = item
            found = self.run(models[c], members[m], starts[m], edges)
            done += 1
            progress.update(done, models[c].settings.text)
            return found

        results = map_in_order(world, one, items)
        return [results[c * len(members) : (c + 1) * len(members)] for c in range(len(models))]

    def of_dns(
        self, member: int, fields: RealArray, times: FloatArray, edges: FloatArray
    ) -> MemberStatistics:
        """The statistics of a member's filtered DNS, vorticity (time, layer, y, x)."""
        flow = self._flow_of(member)
        states = (_modes(flow, field)[None] for field in fields)
        return _statistics(flow, states, times, edges)

    def _flow_of(self, member: int) -> Flow:
        """The flow of one member of the ensemble: random forcing is of that member."""
        mesh = World.single().mesh(members=1, rows=self.grid.n // 2)
        mesh = replace(mesh, members=slice(member, member + 1), ensemble=member + 1)
        settings = self.transform.estimated()
        return self.make_flow(TRANSFORMS.build(settings, self.grid, mesh, self.layers))


def filtered_dns(
    source: Source, n: int, blocks: Sequence[Block], duration: float
) -> tuple[list[RealArray], list[FloatArray]]:
    """The filtered vorticity (sample, layer, y, x) of each test member over `duration` from its
    first sample on, and the times since then. CaseError for a dataset that cannot be used. Not
    collective."""
    dataset = source.open()
    dataset.require(n, "test")
    fields, times = [], []
    for block in blocks:
        first, member = block.samples.start, block.member
        since = dataset.time[member, first : block.samples.stop] - dataset.time[member, first]
        kept = int(np.count_nonzero(since <= duration + ROUNDING))
        fields.append(dataset.read(n, "omega", [member], slice(first, first + kept))[0])
        times.append(since[:kept])
    return fields, times


def bin_edges(fields: Iterable[RealArray]) -> FloatArray:
    """Edges of the bins of vorticity, from all that of the filtered DNS; (BINS + 1,)."""
    largest = max((float(np.abs(field).max()) for field in fields), default=0.0)
    reach = BEYOND * largest if largest > 0 else 1.0  # a flow at rest fills the middle
    return np.linspace(-reach, reach, BINS + 1)


def _modes(flow: Flow, omega: RealArray) -> ComplexArray:
    """Coefficients (layer, kx, ky) of vorticity (layer, y, x)."""
    return flow.transform.take(kept_modes(omega.astype(np.float64)))


def _statistics(
    flow: Flow, states: Iterable[ComplexArray], times: FloatArray, edges: FloatArray
) -> MemberStatistics:
    """Of the states (1, layer, kx, ky) of one member, taken one at a time."""
    diagnostics, n = Diagnostics(flow), flow.transform.grid.n
    energy, enstrophy = [], []
    spectrum: FloatArray = np.zeros(flow.transform.grid.n_shells)
    counts, omega = np.zeros(len(edges) - 1), np.zeros((1, n, n))
    for state in states:
        means = diagnostics.means(state, 0.0, 0)
        energy.append(float(means["energy"][0]))
        enstrophy.append(float(means["enstrophy"][0]))
        spectrum = spectrum + diagnostics.energy_spectrum(state)[0]
        (whole,) = flow.transform.gather(state, n).values()
        omega = to_points(whole)
        counts += np.histogram(omega, edges)[0]
    width = np.diff(edges)
    return MemberStatistics(
        time=times,
        energy=np.array(energy),
        enstrophy=np.array(enstrophy),
        energy_spectrum=spectrum / len(energy),
        vorticity_pdf=counts / (len(energy) * omega.size * width),
        omega=omega,
    )
