"""Observers look at a run, and leave it as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eddyscope.parallel.world import World
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.observers import Recorder
from eddyscope.solver.pace import make_pace
from eddyscope.solver.schedule import FixedSteps, FreeSteps
from eddyscope.solver.simulation import Simulation
from small_flows import make_flow, make_scheme, make_transform_on, state_of

RING = {"kind": "ring", "wavenumber": 4.0, "energy_input": 0.5}
SCHEDULES: dict[str, Any] = {
    "fixed steps": FixedSteps.of(4, 6, 3, 3, 0.01),
    "steps that adapt": FreeSteps.of(0.04, 0.06, 3, 3),
}


class Kept:
    """A writer of records that keeps them."""

    def __init__(self) -> None:
        self.records: dict[int, dict[str, bytes]] = {}

    def add_record(self, record: int, members: slice, values: Any) -> None:
        self.records[record] = {name: value.tobytes() for name, value in values.items()}


def simulation_of(schedule: Any) -> Simulation:
    transform = make_transform_on(World.single(), 16, members=2)
    flow = make_flow(transform, drag=0.1, forcing=RING)
    cfl = None if isinstance(schedule, FixedSteps) else 0.1
    pace, state = make_pace(schedule, cfl, transform.grid.spacing), state_of(transform)
    return Simulation(flow, make_scheme("ifrk3", flow, 0.01), NoClosure(), state, schedule, pace)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_records_change_neither_the_state_nor_one_another(name):
    """The account of random forcing included: it is part of the state."""
    alone, watched = (simulation_of(SCHEDULES[name]) for _ in range(2))
    first, second = Kept(), Kept()
    last = alone.schedule.last
    alone.run(last, [])
    observers = [Recorder(Diagnostics(watched.flow), writer) for writer in (first, second)]
    watched.run(last, observers)
    assert list(first.records) == list(range(last + 1))
    assert first.records == second.records
    for key, array in alone.state.items():
        np.testing.assert_array_equal(watched.state[key], array, err_msg=key)


def test_a_record_is_of_what_was_done_since_the_one_before():
    """Energy at each record, less that before: what kicks gave, some 0.01, less what was lost."""
    run, kept = simulation_of(SCHEDULES["fixed steps"]), Kept()
    run.run(run.schedule.last, [Recorder(Diagnostics(run.flow), kept)])
    records = [kept.records[i] for i in range(run.schedule.last + 1)]
    energy, given, lost = (
        np.array([np.frombuffer(record[name]) for record in records])
        for name in ("energy", "energy_input", "energy_dissipation")
    )
    span = np.diff(run.schedule.times)[:, None]
    gained = given[1:] * span - 0.5 * (lost[1:] + lost[:-1]) * span
    assert np.all(given[1:] != 0.0)
    np.testing.assert_allclose(np.diff(energy, axis=0), gained, atol=5e-4)
