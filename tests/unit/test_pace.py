"""Marks in time, and how steps are divided between them."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.solver.pace import CflPace, FixedPace, stable_step
from eddyscope.solver.schedule import Schedule
from small_flows import alone


def test_marks_of_fixed_steps_hold_every_sample_and_record():
    schedule = Schedule.of_steps(first=7, every=10, samples=3, records=5, dt=0.5)
    assert schedule.sample_times == (3.5, 8.5, 13.5)
    assert schedule.steps is not None
    assert sum(schedule.steps) == 27
    assert np.allclose(np.cumsum((0, *schedule.steps)) * 0.5, schedule.times)
    assert [s for s in schedule.samples if s is not None] == [0, 1, 2]


@pytest.mark.parametrize("first", [0.0, 0.05, 1.0])
def test_marks_of_adaptive_steps_are_where_the_samples_are(first):
    schedule = Schedule.of_times(first, every=0.4, samples=3, records=4)
    assert np.allclose(schedule.sample_times, [first, first + 0.4, first + 0.8])
    assert schedule.times[0] == 0.0
    assert schedule.times[-1] == pytest.approx(first + 0.8)
    assert np.all(np.diff(schedule.times) > 0)


def test_fixed_steps_stay_as_they_are():
    pace = FixedPace((3, 4), 0.1)
    assert pace.divide(1, 0.4, 1e9, 0.1) == (4, 0.1)
    assert not pace.too_fast(0.1, 1e9)


def test_adaptive_steps_respect_the_limit_and_are_kept_while_they_do():
    pace = CflPace(cfl=0.5, spacing=0.1)
    steps, dt = pace.divide(0, 1.0, fastest=2.0, dt_before=0.0)
    assert steps * dt == pytest.approx(1.0)
    assert dt * 2.0 <= 0.5 * 0.1
    assert pace.divide(1, 1.0, fastest=1.9, dt_before=dt) == (steps, dt)
    assert pace.divide(1, 1.0, fastest=4.0, dt_before=dt)[0] > steps
    assert pace.divide(1, 1.0, fastest=0.5, dt_before=dt)[0] < steps
    assert pace.too_fast(dt, 4.0)
    assert not pace.too_fast(dt, 2.0)


def test_a_flow_at_rest_takes_one_step():
    assert CflPace(0.5, 0.1).divide(0, 0.3, fastest=0.0, dt_before=0.0) == (1, 0.3)


def test_the_stable_step_of_ab2_shrinks_as_viscosity_does():
    viscous, thin = alone(32, reynolds=1e2), alone(32, reynolds=1e4)
    assert stable_step("ab2cn", thin, 1.0) < stable_step("ab2cn", viscous, 1.0)
    assert stable_step("ab2cn", thin, 1.0) < stable_step("ifrk3", thin, 1.0)
    assert stable_step("ifrk3", thin, 2.0) == pytest.approx(np.sqrt(3.0) / (15 * 2.0))
    assert stable_step("ifrk3", thin, 0.0) == np.inf
