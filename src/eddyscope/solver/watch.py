"""Observers that watch over a run: guard it, keep its state, say how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from eddyscope.parallel.failure import BlewUp, CannotWrite, NotFinite, StoppedEarly, all_true
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.stop import StopRequests
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.pace import CflPace, cfl_limit, stable_step
from eddyscope.solver.simulation import Simulation

__all__ = ["Guard", "Keeper", "Reporter", "too_long"]

HOPELESS = 2.0
"""A step so many times longer than the stable one cannot be trusted any more."""


@dataclass
class Guard:
    """Ends the run, on all ranks together, once the state is not finite or violates the CFL
    limit beyond hope; keeps that state as post-mortem.h5, beside the last good checkpoint.
    Warns once when the step is longer than the stable one; a step that adapts is shortened then.
    """

    checkpoints: Checkpoints
    world: World
    scheme: str
    unstable_from: float = np.nan
    """The velocity at which it warned."""
    _stable: tuple[float, float] = (0.0, 0.0)
    """A step and the largest velocity for which it is known to be stable."""

    def observe(self, simulation: Simulation) -> None:
        clock = simulation.clock
        if clock.dt == 0.0:
            return
        if not np.isfinite(clock.fastest):
            self.end(simulation, "the velocity is not finite")
        if simulation.at_mark is not None and not self._is_finite(simulation):
            self.end(simulation, "the vorticity is not finite")  # before it is written
        if clock.dt == self._stable[0] and clock.fastest <= self._stable[1]:
            return
        limit = stable_step(self.scheme, simulation.flow, clock.fastest)
        if clock.dt <= limit:
            self._stable = clock.dt, clock.fastest
            return
        hard = HOPELESS * cfl_limit(simulation.flow.transform.grid.k_max, clock.fastest)
        if clock.dt > hard:
            self.end(simulation, f"dt = {clock.dt:.3g}, but the stable step is {limit:.3g}")
        anew = simulation.pace.too_fast(clock.dt, clock.fastest)
        if np.isnan(self.unstable_from) and not anew:
            self.unstable_from = clock.fastest
            self.world.say(f"warning: {too_long(self.scheme, simulation, clock.dt)}")

    def _is_finite(self, simulation: Simulation) -> bool:
        """Whether the state is, everywhere; its velocity is known a step later only."""
        return all_true(self.world.comm, bool(np.isfinite(simulation.omega_hat).all()))

    @contextmanager
    def ending(self, simulation: Simulation) -> Iterator[None]:
        """End the run as it should where an observer raises NotFinite. Collective."""
        try:
            yield
        except NotFinite as error:
            self.end(simulation, str(error))

    def end(self, simulation: Simulation, why: str) -> NoReturn:
        """Keep the state for a look at it, and end the run. Collective."""
        clock = simulation.clock
        kept = f"the state is in {self.checkpoints.folder / 'post-mortem.h5'}"
        try:
            self.checkpoints.save(clock.as_dict(), simulation.state, "post-mortem.h5")
        except CannotWrite as error:  # that it blew up is what must be heard
            kept = f"the state is not kept: {error}"
        raise BlewUp(
            f"{why}, at t = {clock.time:.6g} (step {clock.step}); {kept}; "
            f"{advice(self.scheme, simulation, self.unstable_from)}"
        )


def too_long(scheme: str, simulation: Simulation, dt: float) -> str:
    """What is wrong with a step of dt at present, and what would do; nothing if it is stable."""
    clock = simulation.clock
    limit = stable_step(scheme, simulation.flow, clock.fastest)
    if dt <= limit:
        return ""
    return (
        f"dt = {dt:.3g} is longer than the stable step of {scheme}, {limit:.3g}, at "
        f"velocities up to {clock.fastest:.3g} (t = {clock.time:.4g}); "
        f"{advice(scheme, simulation, clock.fastest)}"
    )


def advice(scheme: str, simulation: Simulation, fastest: float) -> str:
    """Which step or scheme would do for velocities up to `fastest`, NaN where not known."""
    if isinstance(simulation.pace, CflPace):
        return f"use a smaller time.cfl than {simulation.pace.cfl:g}"

    def within(name: str) -> str:
        step = 0.8 * stable_step(name, simulation.flow, fastest)
        return f" (up to {step:.2g})" if 0.0 < step < np.inf else ""

    smaller = f"use a smaller time.dt{within(scheme)}"
    if scheme == "ab2cn":
        return f'{smaller}, or time.scheme = "ifrk3"{within("ifrk3")}, or time.cfl = 0.5 with it'
    return f"{smaller}, or time.cfl = 0.5 in its place"


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
                f"at step {clock.step}, t = {clock.time:.6g} of {simulation.schedule.times[-1]:g}, "
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
    total: int = 1000
    """Parts that the time is counted in."""

    def __post_init__(self) -> None:
        self.progress = Progress(self.world, self.label, self.total)

    def observe(self, simulation: Simulation) -> None:
        clock, end = simulation.clock, simulation.schedule.times[-1]
        if clock.step == 0 or end <= self.start:
            return
        if simulation.at_mark is None and clock.step % 10:
            return
        done = int(self.total * (clock.time - self.start) / (end - self.start))
        note = f"step {clock.step}, t = {clock.time:.4g} of {end:g}, dt = {clock.dt:.3g}"
        self.progress.update(done, note)
