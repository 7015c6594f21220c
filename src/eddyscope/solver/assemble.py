"""From a case's sections to a simulation, for direct and large-eddy simulation alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eddyscope.config.arrays import ComplexArray
from eddyscope.config.errors import CaseError
from eddyscope.flows.base import Flow
from eddyscope.flows.initial import INITIALS, initialise
from eddyscope.flows.registry import FLOWS
from eddyscope.parallel.failure import agree
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.closure import Closure, NoClosure
from eddyscope.solver.pace import make_pace
from eddyscope.solver.schedule import FixedSteps, FreeSteps, Schedule, whole_steps
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.settings import TimeSettings
from eddyscope.solver.simulation import Simulation
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.registry import TRANSFORMS
from eddyscope.spectral.transform import Transform

__all__ = ["EnsembleTimes", "Setup", "assemble", "make_schedule"]


class EnsembleTimes(Protocol):
    """When an ensemble is sampled: settings that have these fields."""

    spin_up: float
    interval: float
    samples: int
    diagnostics: int


def make_schedule(name: str, ensemble: EnsembleTimes, dt: float | None) -> Schedule:
    """The marks of an ensemble; dt: its time step, where that is fixed.

    name: of the settings, for messages. CaseError if a fixed step does not lead to its times, or
    if there are more steps or marks than numbers can tell apart.
    """
    samples, records = ensemble.samples, ensemble.diagnostics
    if dt is None:
        return FreeSteps.of(ensemble.spin_up, ensemble.interval, samples, records, name)
    first = whole_steps(f"{name}.spin_up", ensemble.spin_up, dt)
    every = whole_steps(f"{name}.interval", ensemble.interval, dt)
    if every < 1:
        raise CaseError(f"{name}.interval = {ensemble.interval:g} is less than time.dt = {dt:g}")
    return FixedSteps.of(first, every, samples, records, dt)


def assemble(
    flow: Flow,
    time: TimeSettings,
    schedule: Schedule,
    closure: Closure | None = None,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Simulation:
    """A simulation of `flow` at rest, to be given its state. Not collective."""
    transform = flow.transform
    pace = make_pace(schedule, time.cfl, transform.grid.spacing)
    dt = schedule.dt if isinstance(schedule, FixedSteps) else 1.0  # an adaptive one is set later
    scheme = SCHEMES.build(time.scheme, flow, dt)
    state = transform.zeros_spectral()
    return Simulation(flow, scheme, closure or NoClosure(), state, schedule, pace, asked_to_stop)


@dataclass(frozen=True)
class Setup:
    """An ensemble to be simulated, as a case's sections say; nothing is made yet."""

    flow: Any
    """Settings of the flow, one of FLOWS."""
    grid: Grid
    time: TimeSettings
    transform: Any
    """Settings of the transform, one of TRANSFORMS."""
    members: int
    schedule: Schedule
    seed: int

    def check(self) -> None:
        """Raise CaseError where the grid does not resolve the flow, the initial condition does not
        suit, or the transform's device is missing. Nothing is computed. Not collective: files may
        be read."""
        self.transform.check()
        FLOWS[self.flow.kind].check(self.flow, self.grid)
        initial = INITIALS.build(self.flow.initial, self.seed)
        initial.check(self.grid.n, self.members, FLOWS[self.flow.kind].layers)

    def description(self, name: str, ranks: int) -> list[str]:
        """What is simulated on so many ranks, a line each. CaseError if no mesh fits."""
        grid, (members, pencils) = self.grid, self.mesh_shape(ranks)
        steps = f"as cfl = {self.time.cfl:g} asks" if self.time.cfl else ""
        if self.schedule.total_steps is not None:
            steps = f"{self.schedule.total_steps} of dt = {self.time.dt:g}"
        return [
            f"{name}: {self.members} members on {grid.n} x {grid.n} modes, "
            f"products on {grid.n_product} x {grid.n_product} points",
            f"  mesh: {members} (members) x {pencils} (y-pencils)",
            f"  steps: {steps}, to t = {self.schedule.end:g}",
            *([f"  transform: {self.transform.remark}"] if self.transform.remark else []),
        ]

    def mesh_shape(self, ranks: int) -> tuple[int, int]:
        """The process mesh (members, y-pencils) on so many ranks. CaseError if none fits."""
        shape: tuple[int, int] = self.transform.mesh_shape(ranks, self.members, self.grid.n // 2)
        return shape

    def make_transform(self, world: World, wisdom: Path | None = None) -> Transform:
        """The ensemble's fields on the ranks. `wisdom`: folder of FFTW's findings. Collective."""
        self.transform.prepare(world.comm)
        mesh = world.mesh(self.members, self.grid.n // 2, self.mesh_shape(world.size))
        layers = FLOWS[self.flow.kind].layers
        return TRANSFORMS.build(self.transform, self.grid, mesh, layers, wisdom)

    def simulation(
        self, transform: Transform, asked_to_stop: Callable[[], bool] = lambda: False
    ) -> Simulation:
        """The direct simulation, at rest. Not collective; CaseError if the grid is too coarse."""
        flow = FLOWS.build(self.flow, transform, seed=self.seed)
        return assemble(flow, self.time, self.schedule, asked_to_stop=asked_to_stop)

    def set_initial(self, omega_hat: ComplexArray, transform: Transform) -> None:
        """Set each local member's initial vorticity. Not collective. Raises CaseError."""
        initialise(omega_hat, transform, INITIALS.build(self.flow.initial, self.seed))

    def begin(
        self,
        simulation: Simulation,
        checkpoints: Checkpoints,
        world: World,
        label: str,
        unusable: Callable[[Mapping[str, float]], str],
    ) -> None:
        """Set the state: from the newest checkpoint that can be used, else the initial one.

        unusable: why a checkpoint with this clock does not serve, if it does not; asked on
        rank 0. Collective.
        """
        clock, state = simulation.clock, simulation.state
        found = checkpoints.load(
            clock.as_dict(), state, lambda found: world.on_root(lambda: unusable(found))
        )
        for path, reason in checkpoints.passed_over.items():
            world.say(f"{label}: {path.name} is not used: {reason}")
        if found is not None:
            clock.restore(found)
            world.say(f"{label}: from the checkpoint at step {clock.step}")
            return
        for array in state.values():
            array[...] = 0
        transform, omega_hat = simulation.flow.transform, simulation.omega_hat
        agree(world.comm, lambda: self.set_initial(omega_hat, transform))
