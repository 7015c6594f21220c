"""How many steps a run is expected to take, where they adapt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eddyscope.parallel.world import World
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.cost import COARSE, expected_steps, seconds_a_step
from eddyscope.solver.pace import CflPace, FixedPace
from eddyscope.solver.schedule import FixedSteps, FreeSteps
from eddyscope.solver.simulation import Simulation
from small_flows import FFTW, make_flow, make_scheme, make_transform_on, state_of

pytestmark = pytest.mark.mpi

FLOWS = {
    "speeds up": (32, 1e-3, {"kind": "deterministic", "wavenumber": 3, "amplitude": 60.0}),
    "slows down": (32, 0.5, {"kind": "none"}),
    "ring": (32, 1e-3, {"kind": "ring", "wavenumber": 5.0, "energy_input": 20.0}),
    "fine": (96, 1e-3, {"kind": "deterministic", "wavenumber": 40, "amplitude": 4e4}),
}
"""Name -> n, initial energy, forcing; the last needs a finer grid than the coarse run's."""


def build(world: World, name: str, dt: float | None = None) -> Simulation:
    """Two members at their start. Collective."""
    n, energy, forcing = FLOWS[name]
    transform = make_transform_on(world, n, members=2)
    flow = make_flow(transform, drag=0.5 if n == 32 else 0.0, forcing=forcing)
    schedule = FreeSteps.of(0.5, 0.25, 3, 5) if n == 32 else FreeSteps.of(0.02, 0.02, 2, 4)
    pace: Any = CflPace(0.25, transform.grid.spacing)
    if dt is not None:
        schedule = FixedSteps.of(4, 3, 2, 1, dt)
        pace = FixedPace(schedule)
    state = state_of(transform, energy=energy)
    stepper = make_scheme("ifrk3", flow, dt or 1.0)
    return Simulation(flow, stepper, NoClosure(), state, schedule, pace)


@pytest.mark.parametrize("name", list(FLOWS))
def test_steps_that_adapt_are_foretold(world, everywhere, name):
    assert FLOWS[name][0] < COARSE or FLOWS[name][2]["wavenumber"] >= COARSE // 2
    simulation = build(world, name)
    before = simulation.omega_hat.copy()
    expected = expected_steps(simulation, FFTW)
    everywhere(bool(np.array_equal(simulation.omega_hat, before)), "the state has changed")
    everywhere(world.comm.bcast(expected) == expected, "ranks differ")
    lengths = []
    simulation.run(0, [])
    while simulation.clock.mark < simulation.schedule.last:
        simulation.advance()
        lengths.append(simulation.clock.dt)
    if name != "slows down":
        assert lengths[-1] < 0.5 * lengths[0], "the step must change for this to mean anything"
    assert 0.75 < expected / len(lengths) < 1.33, (expected, len(lengths))


def test_fixed_steps_are_counted(world):
    simulation = build(world, "slows down", dt=1e-3)
    assert expected_steps(simulation, FFTW) == 7
    assert seconds_a_step(simulation, FFTW).dt == pytest.approx(1e-3)


@pytest.mark.parametrize("schedule", [FreeSteps.of(0.0, 1.0, 1, 4), FixedSteps.of(0, 1, 1, 1, 0.1)])
def test_a_run_of_one_sample_at_the_start_takes_no_step(world, schedule):
    simulation = build(world, "slows down")
    simulation.schedule = schedule
    assert expected_steps(simulation, FFTW) == 0
    assert schedule.times[-1] / seconds_a_step(simulation, FFTW).dt == 0.0
