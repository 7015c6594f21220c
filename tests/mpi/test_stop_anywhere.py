"""Stopped after any step, between marks too, a run goes on to the same bits on another mesh;
also where steps adapt and where the forcing is random."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.pace import CflPace, FixedPace
from eddyscope.solver.schedule import FixedSteps, FreeSteps
from eddyscope.solver.simulation import Simulation
from small_flows import make_flow, make_scheme, make_transform_on, state_of

pytestmark = pytest.mark.mpi

N, MEMBERS = 16, 2

STEADY = {"kind": "deterministic", "wavenumber": 3}
RING = {"kind": "ring", "wavenumber": 3.0, "energy_input": 40.0}

RUNS = {
    "ab2cn": ("ab2cn", 0.01, STEADY),
    "ifrk3": ("ifrk3", 0.01, STEADY),
    "adaptive": ("ifrk3", None, STEADY),
    "ring": ("ab2cn", 0.01, RING),
    "adaptive ring": ("ifrk3", None, RING),
}
"""Name -> scheme, dt or None for steps that adapt, forcing."""


@dataclass
class Watch:
    """Notes each step's clock; ends the run after `stop` steps, as a signal would."""

    stop: int | None = None
    clocks: list[dict[str, float]] = field(default_factory=list)

    def observe(self, simulation: Simulation) -> None:
        clock = simulation.clock
        if clock.step:
            self.clocks.append(clock.as_dict())
        if clock.step == self.stop:
            raise Stop


class Stop(Exception):
    pass


def build(world: World, mesh: tuple[int, int] | None, name: str) -> Simulation:
    """A run at its start. Collective."""
    scheme, dt, forcing = RUNS[name]
    transform = make_transform_on(world, N, MEMBERS, mesh)
    flow = make_flow(transform, drag=0.1, forcing=forcing)
    if dt is None:
        schedule = FreeSteps.of(0.0, 0.3, 2, 2)
        pace: Any = CflPace(0.25, transform.grid.spacing)
    else:
        schedule = FixedSteps.of(0, 8, 2, 2, dt)
        pace = FixedPace(schedule)
    stepper = make_scheme(scheme, flow, dt or 1.0)
    return Simulation(flow, stepper, NoClosure(), state_of(transform), schedule, pace)


def meshes(size: int) -> list[tuple[int, int]]:
    return [(m, size // m) for m in range(1, MEMBERS + 1) if size % m == 0]


def bits(simulation: Simulation) -> dict[tuple[str, int], bytes]:
    """(array, member this rank owns) -> its bits, which no layout may change."""
    gather = simulation.flow.transform.gather
    return {
        (name, member): plane.tobytes()
        for name, array in simulation.state.items()
        for member, plane in gather(array, N).items()
    }


def whole(name: str) -> tuple[dict[tuple[str, int], bytes], list[dict[str, float]]]:
    """The end, and the clock after each step, of a run on this rank alone without checkpoints."""
    simulation, watch = build(World.single(), None, name), Watch()
    simulation.run(simulation.schedule.last, [watch])
    return bits(simulation), watch.clocks


def checkpoints(folder: Path, simulation: Simulation) -> Checkpoints:
    return Checkpoints(folder, CheckpointSettings(), "this run", simulation.flow.transform)


@pytest.mark.parametrize("name", list(RUNS))
def test_the_same_bits_and_steps_on_every_mesh(world, everywhere, name):
    expected, clocks = whole(name)
    for mesh in meshes(world.size):
        simulation, watch = build(world, mesh, name), Watch()
        simulation.run(simulation.schedule.last, [watch])
        everywhere(watch.clocks == clocks, f"other steps on {mesh}")
        found = bits(simulation)
        everywhere(all(expected[key] == found[key] for key in found), f"other bits on {mesh}")


@pytest.mark.parametrize("name", list(RUNS))
def test_stopped_at_every_step_and_resumed_on_another_mesh(
    world, shared_tmp_path, everywhere, name
):
    expected, clocks = whole(name)
    assert any(clock["done"] for clock in clocks), "no step ends between marks"
    before, after = meshes(world.size)[0], meshes(world.size)[-1]
    for stop in range(1, len(clocks)):
        folder = shared_tmp_path / str(stop)
        first = build(world, before, name)
        with pytest.raises(Stop):
            first.run(first.schedule.last, [Watch(stop)])
        checkpoints(folder, first).save(first.clock.as_dict(), first.state)
        second, watch = build(world, after, name), Watch()
        for array in second.state.values():
            array[...] = np.nan  # all of it must come from the checkpoint
        second.clock.restore(
            checkpoints(folder, second).load(second.clock.as_dict(), second.state) or {}
        )
        second.run(second.schedule.last, [watch])
        everywhere(watch.clocks == clocks[stop:], f"other steps after {stop}")
        found = bits(second)
        everywhere(all(expected[key] == found[key] for key in found), f"other bits after {stop}")


def test_adaptive_steps_change_and_are_divided_anew_between_marks():
    """What the tests above are about does happen in them."""
    clocks = whole("adaptive ring")[1]
    assert len({clock["dt"] for clock in clocks}) > 2
    times = FreeSteps.of(0.0, 0.3, 2, 2).times
    assert any(clock["began"] not in times for clock in clocks), "never divided between marks"
