"""Marks in time, and how steps are divided between them."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.config.errors import CaseError
from eddyscope.solver.pace import CflPace, FixedPace
from eddyscope.solver.schedule import FixedSteps, FreeSteps, whole_steps
from eddyscope.solver.schemes.base import runge_kutta_limit
from eddyscope.solver.settings import TimeSettings
from small_flows import advance, alone, make_scheme, state_of


def test_marks_of_fixed_steps_hold_every_sample_and_record():
    schedule = FixedSteps.of(first=7, every=10, samples=3, records=5, dt=0.5)
    assert tuple(schedule.sample_times) == (3.5, 8.5, 13.5)
    steps = [schedule.steps_after(mark) for mark in range(schedule.last)]
    assert sum(steps) == schedule.total_steps == 27
    assert np.allclose(np.cumsum((0, *steps)) * 0.5, schedule.times)
    samples = [schedule.sample_at(mark) for mark in range(schedule.last + 1)]
    assert [s for s in samples if s is not None] == [0, 1, 2]


@pytest.mark.parametrize("first", [0.0, 0.05, 1.0])
def test_marks_of_adaptive_steps_are_where_the_samples_are(first):
    schedule = FreeSteps.of(first, every=0.4, samples=3, records=4)
    assert np.allclose(schedule.sample_times, [first, first + 0.4, first + 0.8])
    assert schedule.times[0] == 0.0
    assert schedule.times[-1] == pytest.approx(first + 0.8)
    assert np.all(np.diff(schedule.times) > 0)


def test_fixed_steps_stay_as_they_are():
    pace = FixedPace(FixedSteps.of(first=3, every=4, samples=2, records=1, dt=0.1))
    assert pace.divide(1, 0.4, 1e9, 0.1) == (1, 0.1)
    assert pace.divide(2, 0.4, 1e9, 0.1) == (3, 0.1)
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


def stable_step(scheme, flow, fastest):
    return make_scheme(scheme, flow, 0.01).stable_step(fastest)


def test_the_stable_step_of_ab2_shrinks_as_viscosity_does():
    viscous, thin = alone(32, reynolds=1e2), alone(32, reynolds=1e4)
    assert stable_step("ab2cn", thin, 1.0) < stable_step("ab2cn", viscous, 1.0)
    assert stable_step("ab2cn", thin, 1.0) < stable_step("ifrk3", thin, 1.0)
    assert stable_step("ifrk3", thin, 2.0) == pytest.approx(np.sqrt(3.0) / (15 * 2.0))
    assert stable_step("ifrk3", thin, 0.0) == np.inf


def test_the_stable_step_of_a_flow_that_blew_up():
    """n = 192, Re = 2e4, velocities up to 5: ab2cn blew up at dt = 1e-3, ifrk3 did not."""
    flow = alone(192, reynolds=2e4)
    step = stable_step("ab2cn", flow, 5.0)
    assert step < 1e-3 < stable_step("ifrk3", flow, 5.0)
    # By the formula: (k u dt)^4 / 4 is what viscosity takes of the largest wavenumber.
    assert (95 * 5.0 * step) ** 4 / 4 == pytest.approx(95**2 / 2e4 * step)


@pytest.mark.parametrize(("scheme", "beyond"), [("ab2cn", 16.0), ("ifrk3", 4.0)])
def test_a_step_called_stable_is_and_a_much_longer_one_is_not(scheme, beyond):
    flow = alone(32, reynolds=1e4)
    state = state_of(flow.transform, peak=4.0)
    flow.advection(state, flow.transform.zeros_spectral())
    step = stable_step(scheme, flow, float(flow.max_velocity()[0]))
    enstrophy = flow.transform.weight * np.abs(state) ** 2
    with np.errstate(all="ignore"):
        good, bad = (
            flow.transform.weight * np.abs(advance(flow, scheme, state, dt, int(10 / dt))) ** 2
            for dt in (step, beyond * step)
        )
    assert good.sum() < enstrophy.sum()
    assert not bad.sum() < 10.0 * enstrophy.sum()


def test_the_largest_cfl_number_leaves_adaptive_steps_stable():
    """Also just before the steps are divided anew, and whatever n."""
    (limit,) = (m.le for m in TimeSettings.model_fields["cfl"].metadata if hasattr(m, "le"))
    for n in (8, 64, 1024):
        spacing, k_max = 2.0 * np.pi / n, n // 2 - 1
        pace = CflPace(limit, spacing)
        longest = runge_kutta_limit(k_max, 1.0)
        assert pace.too_fast(longest, 1.0)


def enumerated(first: int, every: int, samples: int, records: int) -> tuple[list[int], list[int]]:
    """(steps of all marks, steps of the samples), one by one."""
    spacing, last = max(1, every // records), first + every * (samples - 1)
    sampled = [first + s * every for s in range(samples)]
    return sorted({*range(0, last + 1, spacing), *sampled}), sampled


def test_marks_by_formula_are_those_that_one_would_list(rng):
    for _ in range(200):
        first, every = int(rng.integers(0, 40)), int(rng.integers(1, 30))
        samples, records = int(rng.integers(1, 9)), int(rng.integers(1, 12))
        steps, sampled = enumerated(first, every, samples, records)
        schedule = FixedSteps.of(first, every, samples, records, 0.25)
        assert len(schedule.times) == schedule.last + 1 == len(steps)
        assert [t / 0.25 for t in schedule.times] == steps
        np.testing.assert_array_equal(np.asarray(schedule.times), np.array(steps) * 0.25)
        found = [schedule.sample_at(mark) for mark in range(len(steps))]
        assert [steps[m] for m, s in enumerate(found) if s is not None] == sampled
        between = [schedule.steps_after(mark) for mark in range(schedule.last)]
        assert between == list(np.diff(steps))


@pytest.mark.parametrize("first", [0.0, 0.05, 1.0, 0.7])
def test_times_one_by_one_and_as_an_array_have_the_same_bits(first):
    for schedule in (FreeSteps.of(first, 0.3, 7, 4), FixedSteps.of(5, 7, 6, 3, 0.0125)):
        for times in (schedule.times, schedule.sample_times):
            assert np.array(list(times)).tobytes() == np.asarray(times).tobytes()
        marks = range(schedule.last + 1)
        numbers = [s for s in map(schedule.sample_at, marks) if s is not None]
        assert numbers == list(range(schedule.samples))
        assert schedule.end == schedule.times[-1] == schedule.sample_times[-1]


def test_a_schedule_of_any_length_costs_nothing():
    for schedule in (
        FixedSteps.of(10**6, 10**5, 10**9, 10, 1e-9),
        FreeSteps.of(10.0, 1e-3, 10**9, 10),
    ):
        assert len(schedule.times) > 10**9
        assert schedule.sample_at(schedule.last) == 10**9 - 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: whole_steps("spin_up", 1.0, 5e-324),
        lambda: whole_steps("spin_up", 1e308, 1e-3),
        lambda: FixedSteps.of(0, 10, 10**30, 1, 1e-3),
        lambda: FreeSteps.of(0.0, 5e-324, 3, 10),
        lambda: FreeSteps.of(1e308, 1e308, 3, 10),
        lambda: FreeSteps.of(1e30, 1e-3, 3, 10),
        lambda: FreeSteps.of(0.0, 1.0, 3, 10**40),
        lambda: FreeSteps.of(0.0, 1.0, 10**40, 10),
    ],
)
def test_times_that_no_number_can_tell_apart_are_refused(make):
    with pytest.raises(CaseError, match="use "):
        make()


@pytest.mark.parametrize("fastest", [np.inf, 1e308, 1e-308])
def test_adaptive_steps_of_extreme_velocities(fastest):
    """Too many steps to count are left to the watch, which ends the run."""
    steps, dt = CflPace(1e-6, 1e-3).divide(0, 1.0, fastest, 0.0)
    assert steps >= 1 and dt > 0
