"""An observer that ends a run which cannot be trusted any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from eddyscope.config.errors import apart
from eddyscope.parallel.failure import BlewUp, CannotWrite, NotFinite, all_true
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.simulation import Simulation

__all__ = ["Watch", "too_long"]

POST_MORTEM = "post-mortem.h5"
"""File of the state with which a run blew up, beside its checkpoints."""


@dataclass
class Watch:
    """Ends the run, on all ranks together, once the state is not finite or its step is beyond
    hope; keeps that state as post-mortem.h5, beside the last good checkpoint. Warns once when
    the step is longer than the stable one; a step that adapts is shortened then.
    """

    checkpoints: Checkpoints
    world: World
    unstable_from: float = np.nan
    """The velocity at which it warned."""
    _stable: tuple[float, float] = (0.0, 0.0)
    """A step and the largest velocity for which it is known to be stable."""

    def observe(self, simulation: Simulation) -> None:
        clock, scheme = simulation.clock, simulation.scheme
        if clock.dt == 0.0:
            return
        if not np.isfinite(clock.fastest):
            self.end(simulation, "the velocity is not finite")
        if simulation.at_mark is not None and not self._is_finite(simulation):
            self.end(simulation, "the vorticity is not finite")  # before it is written
        if clock.dt == self._stable[0] and clock.fastest <= self._stable[1]:
            return
        limit = scheme.stable_step(clock.fastest)
        if clock.dt > scheme.hopeless_step(clock.fastest):
            given, stable = apart(clock.dt, limit)
            self.end(simulation, f"dt = {given}, but the stable step is {stable}")
        if simulation.schedule.end + clock.dt == simulation.schedule.end:
            self.end(simulation, f"dt = {clock.dt:.3g} is too short to change the time")
        if clock.dt <= limit:
            self._stable = clock.dt, clock.fastest
            return
        anew = simulation.pace.too_fast(clock.dt, clock.fastest)
        if np.isnan(self.unstable_from) and not anew:
            self.unstable_from = clock.fastest
            self.world.say(f"warning: {too_long(simulation, clock.dt)}")

    def _is_finite(self, simulation: Simulation) -> bool:
        """Whether the state is, everywhere; its velocity is known a step later only."""
        loops = simulation.flow.transform.loops
        return all_true(self.world.comm, loops.all_finite(simulation.omega_hat))

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
        kept = f"the state is in {self.checkpoints.folder / POST_MORTEM}"
        try:
            self.checkpoints.save(clock.as_dict(), simulation.state, POST_MORTEM)
        except CannotWrite as error:  # that it blew up is what must be heard
            kept = f"the state is not kept: {error}"
        raise BlewUp(
            f"{why}, at t = {clock.time:.6g} (step {clock.step}); {kept}; "
            f"{_advice(simulation, self.unstable_from)}"
        )


def too_long(simulation: Simulation, dt: float) -> str:
    """What is wrong with a step of dt at present, and what would do; nothing if it is stable."""
    clock, scheme = simulation.clock, simulation.scheme
    limit = scheme.stable_step(clock.fastest)
    if dt <= limit:
        return ""
    given, stable = apart(dt, limit)
    return (
        f"dt = {given} is longer than the stable step of {scheme.settings.kind}, {stable}, at "
        f"velocities up to {clock.fastest:.3g} (t = {clock.time:.4g}); "
        f"{_advice(simulation, clock.fastest)}"
    )


def _advice(simulation: Simulation, fastest: float) -> str:
    """Which step or scheme would do for velocities up to `fastest`, NaN where not known."""
    pace, scheme = simulation.pace, simulation.scheme
    if pace.advice or scheme.may_adapt:
        return pace.advice or scheme.advice(fastest)
    able = " or ".join(f'"{name}"' for name in SCHEMES if SCHEMES[name].may_adapt)
    return f"{scheme.advice(fastest)}, or time.cfl = 0.5 in its place with time.scheme = {able}"
