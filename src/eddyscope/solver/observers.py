"""Observers of a run: they record it, sample it, keep its state, say how far it is.

What they write with, and filter with, is handed in: the protocols below say what they need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from eddyscope.config.arrays import AnyArray, BoolArray, CoarseFields, ComplexArray, FloatArray
from eddyscope.flows.base import Flow
from eddyscope.parallel.failure import NotFinite, StoppedEarly, all_true
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.stop import StopRequests
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schemes.base import Scheme
from eddyscope.solver.simulation import Simulation

__all__ = ["Keeper", "Recorder", "RecordWriter", "Reporter", "SampleFilter", "SampleWriter",
           "Sampler"]  # fmt: skip

PARTS = 1000
"""Parts of the simulated time that progress is counted in."""


class RecordWriter(Protocol):
    """Takes the diagnostics, each of shape (member,)."""

    def add_record(self, record: int, members: slice, values: Mapping[str, AnyArray]) -> None:
        """Record `record` of `members`. Not collective."""


class SampleWriter(Protocol):
    """Takes samples."""

    def add_sample(
        self,
        sample: int,
        fields: CoarseFields,
        spectra: Mapping[int, Mapping[str, AnyArray]],
        full: Mapping[int, AnyArray] | None = None,
    ) -> None:
        """One sample of all members: fields, member -> name -> spectrum, and member ->
        unfiltered vorticity if that is wanted. Raises NotFinite. Collective."""


class SampleFilter(Protocol):
    """Filters the state of a flow to coarse grids."""

    flow: Flow

    def sample(self, omega_hat: ComplexArray, advection_hat: ComplexArray) -> CoarseFields:
        """The filtered fields. Collective."""


@dataclass
class Recorder:
    """Records the diagnostics at every mark."""

    diagnostics: Diagnostics
    writer: RecordWriter

    def observe(self, simulation: Simulation) -> None:
        mark = simulation.at_mark
        if mark is None:
            return
        clock, transform = simulation.clock, simulation.flow.transform
        times = simulation.schedule.times
        elapsed = times[mark] - times[mark - 1] if mark else 0.0
        values = self.diagnostics.means(simulation.omega_hat, clock.time, clock.step, elapsed)
        values["cfl"] = clock.dt * self.diagnostics.max_velocity() / transform.grid.spacing
        mesh = transform.mesh
        if not all_true(mesh.comm, all(bool(np.isfinite(v).all()) for v in values.values())):
            raise NotFinite("the diagnostics are not finite")
        writes = mesh.pencil_comm.rank == 0  # its pencils all hold the same sums
        self.writer.add_record(mark, mesh.members if writes else slice(0, 0), values)


@dataclass
class Sampler:
    """Filters the state when a sample is due that is not yet committed."""

    subgrid: SampleFilter
    diagnostics: Diagnostics
    writer: SampleWriter
    committed: BoolArray
    """Whether each sample is committed already, shape (sample,)."""
    unfiltered: Callable[[Flow, ComplexArray], Mapping[int, FloatArray]] | None = None
    """Member this rank owns -> its vorticity on all points, where that is written too.
    Collective."""

    def observe(self, simulation: Simulation) -> None:
        mark = simulation.at_mark
        sample = None if mark is None else simulation.schedule.sample_at(mark)
        if sample is None or self.committed[sample]:
            return
        self.take(sample, simulation.omega_hat, simulation.scheme)

    def take(self, sample: int, omega_hat: ComplexArray, scheme: Scheme) -> None:
        """Filter the state and give it to the writer as a sample. Collective."""
        flow, advection = self.subgrid.flow, scheme.advection.of(omega_hat)
        fields = self.subgrid.sample(omega_hat, advection)
        shells = self.diagnostics.spectra(omega_hat, advection)
        first = flow.transform.mesh.members.start
        spectra = {
            m: {name: values[m - first] for name, values in shells.items()}
            for m in flow.transform.owned
        }
        full = self.unfiltered(flow, omega_hat) if self.unfiltered else None
        self.writer.add_sample(sample, fields, spectra, full)


@dataclass
class Keeper:
    """Checkpoints when its interval of wall time has passed, and on request, after which the
    run stops.

    It comes after the recorder and the sampler, so a restart repeats neither of them.
    """

    checkpoints: Checkpoints
    requests: StopRequests
    before_saving: Callable[[], None]
    """Brings to the disk what the checkpoint takes as done. Collective."""

    def observe(self, simulation: Simulation) -> None:
        clock, last = simulation.clock, simulation.schedule.last
        if clock.step == 0 or clock.mark == last:
            return
        stop = simulation.stop and self.requests.any()
        if stop or (simulation.at_mark is not None and self.checkpoints.due()):
            self.before_saving()
            self.checkpoints.save(clock.as_dict(), simulation.state)
        if stop:
            raise StoppedEarly(
                f"at step {clock.step}, t = {clock.time:.6g} of {simulation.schedule.end:g}, "
                f"as asked by {self.requests.by}; call again to go on"
            )


@dataclass
class Reporter:
    """Says how far the run is, in time simulated."""

    world: World
    label: str
    start: float
    """Time at which this call of the program took over."""
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.progress = Progress(self.world, self.label, PARTS)

    def observe(self, simulation: Simulation) -> None:
        clock, end = simulation.clock, simulation.schedule.end
        if clock.step == 0 or end <= self.start:
            return
        if simulation.at_mark is None and clock.step % 10:
            return
        done = int(PARTS * (clock.time - self.start) / (end - self.start))
        note = f"step {clock.step}, t = {clock.time:.4g} of {end:g}, dt = {clock.dt:.3g}"
        self.progress.update(done, note)
