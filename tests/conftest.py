"""What all tests share: ranks that fail together, per-rank reports, a few fixtures.

    pytest -m "not mpi"                          serial tests
    mpirun -n 3 pytest --only-mpi -m mpi         tests on ranks (test.sh: on 1, 2, 3 and 4)

A test marked `mpi` runs at every rank count; `@pytest.mark.mpi(min_size=2)` leaves out
smaller ones. All ranks run the same tests in the same order. A failing rank prints its
report at once; if the others then do not finish the test, the whole run is aborted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from eddyscope.parallel import launch as launching
from eddyscope.parallel.world import World

GRACE = 5.0
"""Seconds that a rank whose test failed waits for the others before it aborts them all."""

HARNESS = MPI.COMM_WORLD.Dup()
"""The harness's own: its traffic must never match a test's."""

RANKS, RANK = HARNESS.size, HARNESS.rank

REFERENCE = "EDDYSCOPE_REFERENCE"
"""Environment variable that names the folder of stored solutions from another solver."""


# --- Harness -------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--outcomes",
        metavar="PREFIX",
        help="append each test's outcome to PREFIX-r<rank>.jsonl as it happens",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Harness(config), "eddyscope-harness")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if RANK > 0:  # one rank's progress is enough; failures are printed by the harness
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        session.config.pluginmanager.unregister(reporter)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pytest-mpi takes a folder's name for a mark, and would skip these without a word.
    lost = [i.nodeid for i in items if "mpi" in i.keywords and not i.get_closest_marker("mpi")]
    if lost:
        raise pytest.UsageError(
            f"{lost[0]} is under a folder named mpi but has no mpi mark, so it would never run: "
            "mark it, or move it to another folder"
        )


class Harness:
    """Writes outcomes down as they happen, and sees to it that no rank waits for ever."""

    def __init__(self, config: pytest.Config):
        prefix = config.getoption("--outcomes")
        self.file = open(f"{prefix}-r{RANK}.jsonl", "w") if prefix else None  # noqa: SIM115
        # pytest's own limit ends a test that hangs here; this one is for hangs elsewhere.
        self.limit = float(config.getini("faulthandler_timeout")) + GRACE
        self.on_ranks = bool(config.getoption("--only-mpi"))
        self.failed = False

    def record(self, test: str, outcome: str) -> None:
        if self.file is not None:
            print(json.dumps([test, outcome]), file=self.file, flush=True)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.failed = False
        self.record(nodeid, "started")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = True
            self.record(report.nodeid, "failed")
            self.shout(report)
        elif report.skipped or report.when == "call":
            self.record(report.nodeid, report.outcome)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.record(report.nodeid or "collection", "failed")
            self.shout(report)
        elif report.skipped:
            self.record(report.nodeid, "skipped")

    def shout(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Print a failure at once: a report kept for the end would die with the job."""
        if not self.on_ranks:
            return
        text = f"\n--- rank {RANK} of {RANKS}: {report.nodeid} failed\n{report.longreprtext}\n"
        sys.__stderr__.write(text)
        sys.__stderr__.flush()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        result = yield
        if RANKS > 1:
            self.meet(item.nodeid)
        return result

    def meet(self, test: str) -> None:
        """Wait for all ranks to end `test`; abort them all if they do not. Collective."""
        arrived = HARNESS.Ibarrier()
        deadline = time.monotonic() + (GRACE if self.failed else self.limit)
        while not arrived.Test():
            if time.monotonic() > deadline:
                state = "failed here" if self.failed else "passed here"
                sys.__stderr__.write(
                    f"\n--- rank {RANK} of {RANKS}: {test} {state}, and other ranks have not "
                    "ended it: aborting all\n"
                )
                sys.__stderr__.flush()
                time.sleep(0.5)  # let other failing ranks' words out
                HARNESS.Abort(1)
            time.sleep(0.002)


# --- Fixtures ------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    """All ranks, on a communicator of this test's own."""
    # Never freed: freeing is collective, and a rank may have failed.
    return World.launched()


@pytest.fixture
def shared_tmp_path(mpi_tmp_path: Path) -> Path:
    """One empty folder, the same on all ranks."""
    return mpi_tmp_path


@pytest.fixture
def everywhere(world: World) -> Callable[[bool, str], None]:
    """`everywhere(condition, words)`: an assertion that all ranks fail together, with the
    ranks it failed on. Collective.
    """

    def check(condition: bool, words: str = "") -> None:
        said = world.comm.allgather((bool(condition), words))
        wrong = [f"rank {rank}: {text}" for rank, (right, text) in enumerate(said) if not right]
        assert not wrong, "; ".join(wrong)

    return check


@pytest.fixture
def launch() -> Callable[..., Any]:
    """`launch(ranks, command, timeout)` starts ranks from a serial test (parallel/launch.py)."""
    assert RANKS == 1, "mpirun inside mpirun does not work: use `launch` in serial tests only"
    return launching.launch


@pytest.fixture(scope="session")
def reference_solutions() -> Path:
    """A folder of solutions that another solver made, where there is one."""
    named = os.environ.get(REFERENCE)
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip(f"no stored solutions of another solver here; {REFERENCE} names their folder")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every test and on every rank."""
    return np.random.default_rng(20240817)
