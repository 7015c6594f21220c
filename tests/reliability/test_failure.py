"""Failing together: no rank is left waiting, and a user sees one message. Started as real jobs."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from pathlib import Path

import pytest

from small_flows import write_case

PROGRAM = """
import sys
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import BlewUp, StoppedEarly, agree, guard
from eddyscope.parallel import failure
from eddyscope.parallel.world import World

def main():
    world = World.launched()
    comm = world.comm
    {body}
    return 0

sys.exit(guard(main))
"""

LIMIT = 120.0
"""Seconds for a whole job; a healthy end takes about two on an idle machine, or as long as a rank
waits for others' answers. Jobs that hang are ended by it, and fail."""


@pytest.fixture
def job(launch, tmp_path: Path):
    """Run `body` on three ranks: (exit status, standard error without the launcher's own)."""

    def run(body: str, ranks: int = 3):
        script = tmp_path / "program.py"
        script.write_text(
            PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())
        )
        began = time.monotonic()
        ended = launch(ranks, [sys.executable, str(script)], LIMIT)
        assert time.monotonic() - began < LIMIT
        return ended.returncode, ended.stderr

    return run


def test_one_rank_raises_while_the_others_wait(job):
    status, words = job(
        """
        if world.rank == 1:
            raise RuntimeError("the disk is full")
        comm.Barrier()
        """
    )
    assert status == 1
    assert words.count("Traceback (most recent call last)") == 1
    assert words.count("RuntimeError: the disk is full") == 1
    assert "rank 1 of 3 failed" in words


def test_all_ranks_raise_one_traceback(job):
    status, words = job('raise RuntimeError("the same everywhere")')
    assert status == 1
    assert words.count("RuntimeError: the same everywhere") == 1
    assert "rank 0 of 3 failed" in words


@pytest.mark.parametrize("ranks", [1, 3])
def test_bad_input_on_all_ranks_is_one_line_and_status_2(job, ranks):
    status, words = job('raise CaseError("grid.n = 7: must be even")', ranks)
    assert status == 2
    assert words.count("eddyscope: grid.n = 7: must be even\n") == 1
    assert "Traceback" not in words


def test_bad_input_on_one_rank_alone_does_not_hang(job):
    status, words = job(
        """
        failure.TIME_TO_AGREE = 4.0
        if world.rank == 2:
            raise CaseError("no such file")
        comm.Barrier()
        """
    )
    assert status == 2
    assert words.count("eddyscope: no such file\n") == 1
    assert "Traceback" not in words


@pytest.mark.parametrize(
    "raise_it",
    [
        "agree(comm, fails)",
        "world.on_root(fails)",
        'write_on_root(Path("file"), comm, fails)',
        "fails()",
    ],
)
def test_bad_input_that_a_slow_rank_meets_late_is_one_line(job, raise_it):
    """All ranks have the error; one of them takes seconds to come out with it."""
    status, words = job(
        f"""
        import time
        from pathlib import Path
        from eddyscope.parallel.failure import CannotWrite
        from eddyscope.storage.atomic import write_on_root
        def fails():
            raise {"CannotWrite" if "write" in raise_it else "CaseError"}("no such file")
        try:
            {raise_it}
        finally:
            time.sleep(3.5 if world.rank == 1 else 0.0)
        """
    )
    assert status == (1 if "write" in raise_it else 2)
    assert words.count("eddyscope: no such file\n") == 1
    assert "Traceback" not in words and "ABORT" not in words


def test_agree_of_some_ranks_does_not_hang_the_others(job):
    status, words = job(
        """
        failure.TIME_TO_AGREE = 4.0
        def fails():
            raise CaseError("no such file")
        group, mine = world.split(2)
        if mine == 0:
            agree(group.comm, fails)
        comm.Barrier()
        """
    )
    assert status == 2
    assert words.count("eddyscope: no such file\n") == 1


def test_agree_raises_the_lowest_ranks_error_everywhere(job):
    status, words = job(
        """
        def check():
            if world.rank > 0:
                raise CaseError(f"seen by rank {world.rank}")
            return "fine"
        try:
            agree(comm, check)
        except CaseError as error:
            everyone = comm.allgather(str(error))
            assert everyone == ["seen by rank 1"] * 3, everyone
            raise
        """
    )
    assert status == 2
    assert words.count("eddyscope: seen by rank 1\n") == 1


@pytest.mark.parametrize(("error", "status"), [("BlewUp", 3), ("StoppedEarly", 4)])
def test_ends_with_a_status_of_their_own(job, error, status):
    ended, words = job(f'raise {error}("at step 12")')
    assert ended == status
    assert words.count("at step 12") == 1
    assert "Traceback" not in words


def test_exit_inside_one_rank_ends_all(job):
    status, words = job(
        """
        if world.rank == 0:
            sys.exit("giving up")
        comm.Barrier()
        """
    )
    assert status == 1
    assert words.count("giving up") >= 1


def test_a_rank_that_fails_after_the_others_ended(job):
    status, words = job(
        """
        import time
        if world.rank == 2:
            time.sleep(0.5)
            raise RuntimeError("late")
        """
    )
    assert status == 1
    assert words.count("RuntimeError: late") == 1


STAGE = """
import sys
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
from eddyscope.solver.observers import Sampler

observe = Sampler.observe

def fails(self, simulation):
    sampled = simulation.at_mark is not None and simulation.clock.step > 0
    if simulation.flow.transform.mesh.comm.rank == 1 and sampled:
        raise OSError("No space left on device")
    observe(self, simulation)

Sampler.observe = fails
sys.exit(guard(lambda: dispatch(sys.argv[1:])))
"""


def test_one_rank_fails_in_the_middle_of_a_stage(launch, tmp_path: Path):
    """The others are in collective writes by then."""
    (tmp_path / "program.py").write_text(STAGE)
    case = write_case(tmp_path)
    command = [sys.executable, str(tmp_path / "program.py"), "dns", str(case), "--system", "base"]
    ended = launch(3, [*command, "--out", str(tmp_path / "out")], LIMIT)
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback (most recent call last)") == 1
    assert ended.stderr.count("OSError: No space left on device") == 1
    status = json.loads((tmp_path / "out" / "status.json").read_text())
    assert status["state"] == "failed"
    assert status["message"] == "rank 1: OSError: No space left on device"
