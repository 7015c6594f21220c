"""Requests to stop are heard by one rank and obeyed by all."""

from __future__ import annotations

import os
import signal
import time

import pytest
from mpi4py import MPI

from eddyscope.parallel.stop import GroupRequests, StopRequests, StopSettings

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("number", [signal.Signals[f"SIG{n}"] for n in StopSettings().signals])
def test_a_signal_to_the_last_rank_is_agreed_by_all(world, shared_tmp_path, number):
    before = signal.getsignal(number)
    with StopRequests(world, [shared_tmp_path]) as requests:
        assert not requests.any()
        if world.rank == world.size - 1:
            os.kill(os.getpid(), number)
        assert requests.any()
        assert requests.by == number.name
    assert signal.getsignal(number) == before


def test_a_stop_file_is_obeyed_once(world, shared_tmp_path):
    if world.is_root:
        (shared_tmp_path / "STOP").touch()
    with StopRequests(world, [shared_tmp_path]) as requests:
        assert requests.any()
        assert requests.by.endswith("STOP")
    with StopRequests(world, [shared_tmp_path]) as requests:
        assert not requests.any()


def test_what_is_made_inside_hears_what_is_heard_outside(world, shared_tmp_path):
    """As a stage in a study; the study's file is left to the study."""
    inside = shared_tmp_path / "cell"
    if world.is_root:
        inside.mkdir()
    with StopRequests(world, [shared_tmp_path]) as outer:
        with StopRequests(world, [inside.parent / "none", inside]) as requests:
            assert not requests.any()
            if world.is_root:
                (inside / "STOP").touch()
            assert requests.any() and requests.by == str(inside / "STOP")
        assert not (inside / "STOP").exists() and not outer.by
        if world.is_root:
            (shared_tmp_path / "STOP").touch()
        requests = StopRequests(world, [inside])  # hears of files without being entered
        assert requests.any() and requests.by == str(shared_tmp_path / "STOP")
        assert world.on_root((shared_tmp_path / "STOP").exists)
        assert outer.any() and not world.on_root((shared_tmp_path / "STOP").exists)
    assert not StopRequests(world, [inside]).any()


@pytest.mark.parametrize("asked", ["a signal to the last rank", "a file", "nothing"])
def test_groups_that_work_apart_tell_each_other(world, shared_tmp_path, asked):
    group, _ = world.split(2)
    if asked == "a file" and world.is_root:
        (shared_tmp_path / "STOP").touch()
    world.comm.Barrier()
    with (
        StopRequests(world, [shared_tmp_path]) as requests,
        GroupRequests(requests, group) as heard,
    ):
        if asked == "a signal to the last rank" and world.rank == world.size - 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(10 if asked == "nothing" else 3000):
            # Each group agrees by itself, as training does at every step.
            if group.comm.allreduce(heard.pending(), op=MPI.LOR):
                assert heard.any()
                break
            time.sleep(0.01)
        assert bool(heard.by) == (asked != "nothing")
    group.comm.Free()
    assert not (shared_tmp_path / "STOP").exists()
    with StopRequests(world, [shared_tmp_path]) as requests:
        assert not requests.any()


def test_a_group_that_is_done_need_not_listen(world, shared_tmp_path):
    group, index = world.split(2)
    with (
        StopRequests(world, [shared_tmp_path]) as requests,
        GroupRequests(requests, group) as heard,
    ):
        if index == 0:  # the other has nothing left to do
            os.kill(os.getpid(), signal.SIGUSR1)
            assert heard.any()
    group.comm.Free()


def test_a_second_interrupt_ends_at_once(world, shared_tmp_path):
    with StopRequests(world, [shared_tmp_path]) as requests:
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.pending()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
