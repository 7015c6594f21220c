"""The watch of a run: what it says of the step, at the start and later, and when it ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eddyscope.parallel.failure import BlewUp
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.pace import CflPace, FixedPace
from eddyscope.solver.schedule import FixedSteps, FreeSteps
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.simulation import Simulation
from eddyscope.solver.watch import Watch
from small_flows import make_flow, make_scheme, make_transform_on, state_of

pytestmark = pytest.mark.mpi

N, MEMBERS, STEPS = 16, 2, 40

STRONG = {"kind": "deterministic", "wavenumber": 3, "amplitude": 60.0}
"""From rest, it speeds the flow up by the step."""


def build(world: World, folder: Path, scheme: str, dt: float | None, **settings: Any):
    """(a run at its start, its watch). `energy` is the initial one. Collective."""
    energy = settings.pop("energy", 0.5)
    transform = make_transform_on(world, N, MEMBERS)
    flow = make_flow(transform, **settings)
    if dt is None:
        schedule = FreeSteps.of(0.0, 0.5, 2, 5)
        pace: Any = CflPace(0.5, transform.grid.spacing)
    else:
        schedule = FixedSteps.of(0, 1, STEPS + 1, 1, dt)
        pace = FixedPace(schedule)
    stepper = make_scheme(scheme, flow, dt or 1.0)
    state = state_of(transform, energy=energy)
    simulation = Simulation(flow, stepper, NoClosure(), state, schedule, pace)
    return simulation, Watch(checkpoints(folder, simulation), world)


def checkpoints(folder: Path, simulation: Simulation) -> Checkpoints:
    return Checkpoints(folder, CheckpointSettings(), "this run", simulation.flow.transform)


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What rank 0 says; the other ranks collect it too."""
    words: list[str] = []
    monkeypatch.setattr(World, "say", lambda self, text: words.append(text))
    return words


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_nothing_is_said_of_a_stable_step(world, shared_tmp_path, said, scheme):
    simulation, watch = build(world, shared_tmp_path, scheme, 1e-3)
    simulation.run(simulation.schedule.last, [watch])
    assert said == []


def test_too_long_a_step_is_told_at_the_start_with_one_that_does(world, shared_tmp_path, said):
    simulation, watch = build(world, shared_tmp_path, "ab2cn", 0.03, reynolds=1e4)
    simulation.run(0, [])
    limit = simulation.scheme.stable_step(simulation.clock.fastest)
    assert limit < 0.03
    simulation.run(1, [watch])
    (warning,) = said
    assert "(t = 0)" in warning
    assert f"{limit:.3g}" in warning
    assert f"time.dt (up to {0.8 * limit:.2g})" in warning
    assert 'or time.cfl = 0.5 in its place with time.scheme = "ifrk3"' in warning


def test_it_is_told_once_when_the_flow_outgrows_the_step(world, shared_tmp_path, said):
    simulation, watch = build(
        world, shared_tmp_path, "ab2cn", 0.01, reynolds=300.0, energy=1e-4, forcing=STRONG
    )
    simulation.run(1, [watch])
    assert said == [], "not at the start"
    simulation.run(simulation.schedule.last, [watch])
    assert len(said) == 1


def test_steps_that_adapt_are_not_complained_of(world, shared_tmp_path, said):
    simulation, watch = build(world, shared_tmp_path, "ifrk3", None, energy=1e-4, forcing=STRONG)
    lengths = []
    simulation.run(0, [watch])
    while simulation.clock.mark < simulation.schedule.last:
        simulation.advance()
        watch.observe(simulation)
        lengths.append(simulation.clock.dt)
    assert min(lengths) < 0.2 * max(lengths), "the flow must speed up for this to mean anything"
    assert said == []


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_step_beyond_hope_ends_the_run_on_all_ranks(world, shared_tmp_path, said, scheme):
    simulation, watch = build(
        world, shared_tmp_path, scheme, 0.01, reynolds=1e9, energy=1e-4, forcing=STRONG
    )
    simulation.omega_hat *= 1e3
    with pytest.raises(BlewUp, match=r"the stable step is .*post-mortem\.h5.*use a smaller time"):
        simulation.run(simulation.schedule.last, [watch])
    world.comm.Barrier()
    assert (shared_tmp_path / "post-mortem.h5").exists()


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_what_is_not_finite_on_one_rank_ends_the_run_on_all(world, shared_tmp_path, scheme):
    simulation, watch = build(world, shared_tmp_path, scheme, 1e-3)
    simulation.run(3, [watch])
    if world.rank == world.size - 1:
        simulation.omega_hat[-1, 0, -1, 3] = np.nan
    with pytest.raises(BlewUp, match="not finite"):
        simulation.run(5, [watch])
    assert simulation.clock.step == 4


def test_the_last_good_checkpoint_stays_beside_the_post_mortem(world, shared_tmp_path):
    simulation, watch = build(world, shared_tmp_path, "ifrk3", 1e-3)
    simulation.run(3, [watch])
    kept = checkpoints(shared_tmp_path, simulation)
    kept.save(simulation.clock.as_dict(), simulation.state)
    good = simulation.omega_hat.copy()
    simulation.omega_hat[...] = np.nan
    with pytest.raises(BlewUp):
        simulation.run(4, [watch])
    other, _ = build(world, shared_tmp_path, "ifrk3", 1e-3)
    found = checkpoints(shared_tmp_path, other).load(other.clock.as_dict(), other.state)
    assert found is not None and found["step"] == 3
    np.testing.assert_array_equal(other.omega_hat, good)
