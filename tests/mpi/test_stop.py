"""Requests to stop are heard by one rank and obeyed by all."""

from __future__ import annotations

import os
import signal

import pytest

from eddyscope.parallel.stop import StopRequests, StopSettings

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("number", [signal.Signals[f"SIG{n}"] for n in StopSettings().signals])
def test_a_signal_to_the_last_rank_is_agreed_by_all(world, shared_tmp_path, number):
    before = signal.getsignal(number)
    with StopRequests(world, shared_tmp_path) as requests:
        assert not requests.any()
        if world.rank == world.size - 1:
            os.kill(os.getpid(), number)
        assert requests.any()
        assert requests.by == number.name
    assert signal.getsignal(number) == before


def test_a_stop_file_is_obeyed_once(world, shared_tmp_path):
    if world.is_root:
        (shared_tmp_path / "STOP").touch()
    with StopRequests(world, shared_tmp_path) as requests:
        assert requests.any()
        assert requests.by.endswith("STOP")
    with StopRequests(world, shared_tmp_path) as requests:
        assert not requests.any()
