"""Numbers at the edges of what is allowed: one line and status 2, or a plan; never a traceback, a
hang, or more memory than a plan needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import synthetic
from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
from small_flows import write_case

LIMIT = 120.0
"""Seconds for one plan."""

PLAN_BYTES = 300 * 2**20
"""Address space that a plan may take beside the loaded program."""

LIMITED = f"""
import resource, sys
from mpi4py import MPI
from eddyscope.__main__ import main
import eddyscope.stages.dns
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + {PLAN_BYTES},) * 2)
main()
"""


@pytest.fixture
def plan(tmp_path: Path, capsys):
    """`plan(stage, *options)` plans in this process; gives (exit status, output, errors)."""

    def run(stage: str, *options: str) -> tuple[int, str, str]:
        write = synthetic.write_case if stage == "les" else write_case
        arguments = [stage, str(write(tmp_path)), "--out", str(tmp_path / "out"), "--dry-run"]
        status = guard(lambda: dispatch([*arguments, *options]))
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def refused(status: int, errors: str) -> None:
    assert status == 2
    (line,) = errors.strip().splitlines()
    assert line.startswith("eddyscope: ") and "Traceback" not in line


REFUSED = [
    "time.dt=5e-324",
    "time.dt=1e308",
    "time.dt=1e-18",
    "time={cfl=5e-324}",
    "time={cfl=0.0}",
    "time={cfl=1e-300}",
    "base.ensemble.interval=5e-324",
    "base.ensemble.interval=1e308",
    "base.ensemble.spin_up=1e308",
    "base.ensemble.spin_up=1e25",
    "base.ensemble.samples=10000000000000000000",
    "base.ensemble.samples=1000000000000",
    "base.ensemble.members=1000000000000",
    "base.ensemble.members=9223372036854775807",
    "base.ensemble.samples=9223372036854775807",
]


@pytest.mark.parametrize("option", REFUSED)
def test_extremes_of_an_ensemble_are_refused_in_one_line(plan, option):
    status, _, errors = plan("dns", "--system", "base", option)
    refused(status, errors)


@pytest.mark.parametrize(
    "options",
    [
        ["time={cfl=0.5}", "base.ensemble.spin_up=1e20"],
        ["time={cfl=0.5}", "base.ensemble.interval=1e-29", "base.ensemble.spin_up=1.0"],
        ["time={cfl=0.5}", "base.ensemble.diagnostics=9223372036854775807"],
    ],
)
def test_times_that_cannot_be_told_apart_are_refused(plan, options):
    status, _, errors = plan("dns", "--system", "base", *options)
    refused(status, errors)


@pytest.mark.parametrize(
    "option",
    [
        "les.dt=5e-324",
        "les.dt=1e-30",
        "les.dt=1e30",
        "les.dt=0.003",
        "les.duration=1e308",
        "les.duration=1e30",
        "les.duration=5e-324",
        "les.interval=1e-30",
    ],
)
def test_extremes_of_the_les_are_refused_in_one_line(plan, option):
    status, _, errors = plan("les", option)
    refused(status, errors)


@pytest.mark.parametrize(
    "options",
    [
        ["time={cfl=1e-6}"],
        ["time.dt=1e-9"],
        ["time.dt=1e20", "base.ensemble.interval=1e20", "base.ensemble.spin_up=0.0"],
        ["time={cfl=0.5}", "base.flow.initial.energy=1e30"],
        ["time={cfl=0.5}", "base.flow.initial.energy=1e-30"],
        ["time={cfl=0.5}", "base.flow.forcing={kind='none'}", "base.flow.reynolds=1e-20"],
    ],
)
def test_extremes_are_measured(plan, options):
    status, words, errors = plan("dns", "--system", "base", "--measure", *options)
    assert status == 0, errors
    assert "steps x" in words and "measured here" in words
    assert "nan" not in words


@pytest.mark.parametrize("samples", [10**7, 10**9])
@pytest.mark.parametrize("time", ["{dt = 0.01}", "{cfl = 0.5}"])
def test_a_plan_of_many_samples_takes_little_memory(launch, tmp_path, samples, time):
    """What does not fit the disk is refused before anything large is made."""
    if sys.platform != "linux":
        pytest.skip("a limit on memory is Linux's")
    options = [f"base.ensemble.samples={samples}", f"time={time}", "filter.n=[16]"]
    arguments = ["dns", str(write_case(tmp_path)), "--system", "base", "--dry-run", *options]
    command = [sys.executable, "-c", LIMITED, *arguments, "--out", str(tmp_path / "out")]
    ended = launch(1, command, LIMIT)
    assert "Traceback" not in ended.stderr and "MemoryError" not in ended.stderr
    if ended.returncode == 0:
        assert f"dataset: {samples} samples" in ended.stdout
    else:
        assert ended.returncode == 2, ended.stderr
        assert "dns.base will write" in ended.stderr


def test_many_samples_on_a_disk_that_holds_them(launch, tmp_path):
    options = ["base.ensemble.samples=200000", "filter.n=[8]", "grid.n=8"]
    options += ["base.ensemble.members=1", "base.flow.forcing={kind='none'}"]
    arguments = ["dns", str(write_case(tmp_path)), "--system", "base", "--dry-run", *options]
    command = [sys.executable, "-c", LIMITED, *arguments, "--out", str(tmp_path / "out")]
    ended = launch(1, command, LIMIT)
    assert ended.returncode == 0, ended.stderr
    assert "dataset: 200000 samples" in ended.stdout
