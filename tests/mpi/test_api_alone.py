"""The public functions work on one process alone, whatever the others of a job do."""

from __future__ import annotations

import numpy as np
import pytest

import eddyscope

pytestmark = pytest.mark.mpi

FLOW = {"kind": "navier_stokes", "reynolds": 100.0, "drag": 0.1}


def test_one_rank_may_call_what_the_others_do_not(world):
    if world.rank == world.size - 1:
        run = eddyscope.Solver(FLOW, n=16, members=2, seed=1, dt=0.01)
        run.advance(0.03)
        assert eddyscope.subgrid(run.omega, n=8).pi.shape == (2, 1, 8, 8)
    world.comm.barrier()


def test_ranks_may_run_solvers_of_their_own(world):
    runs = [eddyscope.Solver(FLOW, n=16, seed=s, dt=0.01) for s in (world.rank, 0)]
    for run, steps in zip(runs, (world.rank + 1, 2), strict=True):
        run.advance(0.01 * steps)
    fields = world.comm.allgather(runs[1].omega)
    assert all(np.array_equal(field, fields[0]) for field in fields)
    assert runs[0].steps == world.rank + 1
