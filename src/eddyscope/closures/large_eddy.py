"""Large-eddy simulation of some members with one closure, on this rank alone, and its statistics.

Members come to a rank one at a time, or, on a GPU, in a batch: as `in_batches` of the transform's
settings says. They know nothing of each other, and the steps are of one length for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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
from eddyscope.parallel.world import block as share_of
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
        self,
        model: SubgridModel,
        members: Sequence[int],
        starts: Sequence[RealArray],
        edges: FloatArray,
    ) -> list[MemberStatistics]:
        """Advance `starts`, the vorticity (layer, y, x) of each member, with a closure, all in one
        batch. Not collective."""
        flow = self._flow_of(members)
        closure = model.on(flow, self.filter_width)
        simulation = assemble(flow, self.time, self.schedule, closure)
        for i, start in enumerate(starts):
            simulation.omega_hat[i] = _modes(flow, start)
        found = _Statistics(flow, len(members), edges)
        with np.errstate(over="ignore", invalid="ignore"):  # a run may blow up: that is a result
            found.add(simulation.omega_hat)
            for record in range(1, self.schedule.last + 1):
                simulation.run(record, [])
                for i in found.lost(simulation.omega_hat):
                    for array in simulation.state.values():
                        array[i] = 0  # it goes on from rest, unseen
                if not found.going_on:
                    break
                found.add(simulation.omega_hat)
        times = np.asarray(self.schedule.times)
        return [found.of_member(i, times) for i in range(len(members))]

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
        together = world.on_root(self.transform.in_batches)
        batches = _batches(together, len(models), len(members), world.size)
        items = [(c, batch) for c in range(len(models)) for batch in batches]
        progress = Progress(world, "les", -(-len(items) // world.size))
        done = 0

        def one(item: tuple[int, slice]) -> list[MemberStatistics]:
            nonlocal done
            c, batch = item
            found = self.run(models[c], members[batch], starts[batch], edges)
            done += 1
            progress.update(done, models[c].settings.text)
            return found

        results = map_in_order(world, one, items)
        found = [of_member for of_batch in results for of_member in of_batch]
        return [found[c * len(members) : (c + 1) * len(members)] for c in range(len(models))]

    def of_dns(
        self, member: int, fields: RealArray, times: FloatArray, edges: FloatArray
    ) -> MemberStatistics:
        """The statistics of a member's filtered DNS, vorticity (time, layer, y, x)."""
        flow = self._flow_of([member])
        found = _Statistics(flow, 1, edges)
        for field in fields:
            found.add(_modes(flow, field)[None])
        return found.of_member(0, times)

    def _flow_of(self, members: Sequence[int]) -> Flow:
        """The flow of some members of the ensemble: random forcing is of these members."""
        mesh = World.single().mesh(len(members), self.grid.n // 2)
        mesh = replace(mesh, names=tuple(members))
        settings = self.transform.estimated()
        return self.make_flow(TRANSFORMS.build(settings, self.grid, mesh, self.layers))


def _batches(together: bool, models: int, members: int, ranks: int) -> list[slice]:
    """The members that are advanced at once: each alone, or, together, as few batches as give all
    ranks as many of all models'."""
    count = min(members, ranks // math.gcd(ranks, models)) if together else members
    return [share_of(members, count, i) for i in range(count)]


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


class _Statistics:
    """Of the states (member, layer, kx, ky) of some members, taken one at a time."""

    def __init__(self, flow: Flow, members: int, edges: FloatArray):
        """edges: of the bins of vorticity."""
        n = flow.transform.grid.n
        self.going_on = list(range(members))
        """The members that have not blown up."""
        self._flow = flow
        self._diagnostics = Diagnostics(flow)
        self._edges = edges
        self._energy: list[list[float]] = [[] for _ in range(members)]
        self._enstrophy: list[list[float]] = [[] for _ in range(members)]
        self._spectrum = np.zeros((members, flow.transform.grid.n_shells))
        self._counts = np.zeros((members, len(edges) - 1))
        self._omega = np.zeros((members, flow.layers, n, n))

    def lost(self, states: ComplexArray) -> list[int]:
        """The members that went on and are not finite, from now on left out."""
        finite = self._flow.transform.loops.all_finite
        lost = [i for i in self.going_on if not finite(states[i])]
        self.going_on = [i for i in self.going_on if i not in lost]
        return lost

    def add(self, states: ComplexArray) -> None:
        """A record of the members that go on."""
        transform = self._flow.transform
        means = self._diagnostics.means(states, 0.0, 0)
        spectra = self._diagnostics.energy_spectrum(states)
        whole = transform.gather(states, transform.grid.n)
        for i in self.going_on:
            self._energy[i].append(float(means["energy"][i]))
            self._enstrophy[i].append(float(means["enstrophy"][i]))
            self._spectrum[i] += spectra[i]
            self._omega[i] = to_points(whole[i])
            self._counts[i] += np.histogram(self._omega[i], self._edges)[0]

    def of_member(self, i: int, times: FloatArray) -> MemberStatistics:
        """times: of all records that were meant."""
        records, points = len(self._energy[i]), self._omega[i].size
        return MemberStatistics(
            time=times,
            energy=np.array(self._energy[i]),
            enstrophy=np.array(self._enstrophy[i]),
            energy_spectrum=self._spectrum[i] / records,
            vorticity_pdf=self._counts[i] / (records * points * np.diff(self._edges)),
            omega=self._omega[i],
        )
