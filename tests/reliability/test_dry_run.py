"""What `--dry-run` predicts is what a run then takes."""

from __future__ import annotations

import gc
import os
import re
import sys
import tracemalloc

import numpy as np
import pytest

from array_bytes import array_bytes
from eddyscope.parallel.world import World
from eddyscope.stages.dns import STAGE
from eddyscope.stages.job import Job
from small_flows import make_case, write_case
from small_runs import simulated

LIMIT = 120.0
"""Seconds for one job."""

PEAK = """
import os, resource, sys
from mpi4py import MPI
from eddyscope.__main__ import dispatch
words = sys.argv[1:]
status = dispatch([*words, "--dry-run"])
assert not os.path.exists(words[words.index("--out") + 1])
MPI.COMM_WORLD.Barrier()
status = status or dispatch(words)
peak = MPI.COMM_WORLD.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, op=MPI.MAX)
if MPI.COMM_WORLD.rank == 0:
    print("peak", peak / 1024)
sys.exit(status)
"""

BIG = ["grid.n=512", "time.dt=0.001", "base.ensemble.spin_up=0.002", "base.ensemble.interval=0.002"]


def number(pattern: str, words: str) -> float:
    found = re.search(pattern, words)
    assert found, f"no {pattern!r} in {words!r}"
    return float(found.group(1))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The loops are in numba's cache: where they are not, a run's peak is that of its compiler."""
    folder = tmp_path_factory.mktemp("first")
    simulated(World.single(), folder, folder / "out", [])


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("members", "ranks"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_memory_and_bytes_are_as_predicted(launch, tmp_path, members, ranks):
    """Of n = 512; planned, then done."""
    case, out = write_case(tmp_path), tmp_path / "out"
    arguments = ["dns", str(case), "--system", "base", "--out", str(out), *BIG]
    arguments.append(f"base.ensemble.members={members}")
    run = [sys.executable, "-c", PEAK, *arguments]
    ended = launch(ranks, run, LIMIT)
    assert ended.returncode == 0, ended.stderr
    words = ended.stdout
    peak = number(r"peak ([\d.]+)", ended.stdout)
    assert number(r"memory: (\d+) MiB a rank", words) == pytest.approx(peak, rel=0.15)
    dataset = out / "base" / "dataset.h5"
    assert number(r"dataset: 3 samples, (\d+) bytes", words) == os.stat(dataset).st_size
    (size,) = {os.stat(path).st_size for path in (out / "base" / "checkpoints").glob("step-*")}
    assert number(r"checkpoints: up to 3 of (\d+) bytes", words) == size


@pytest.mark.parametrize("ranks", [1, 2])
def test_measure_predicts_the_time(launch, tmp_path, ranks):
    case = write_case(tmp_path)
    arguments = ["dns", str(case), "--system", "base", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "eddyscope", *arguments, "--dry-run", "--measure"]
    ended = launch(ranks, command, LIMIT)
    assert ended.returncode == 0, ended.stderr
    words = ended.stdout
    for part in ("10 steps", "6 records", "3 samples"):
        assert number(rf"time: .*\b{part} x ([\d.e+-]+) ms", words) > 0
    assert number(r" = ([\d.e+-]+) s \(", words) > 0
    assert "warning" not in words
    assert not (tmp_path / "out").exists()


def test_measure_warns_of_a_step_that_is_too_long(launch, tmp_path):
    arguments = ["dns", str(write_case(tmp_path)), "--system", "base", "--out", str(tmp_path)]
    wild = ["base.flow.initial.energy=1e4", "--dry-run", "--measure"]
    ended = launch(2, [sys.executable, "-m", "eddyscope", *arguments, *wild], LIMIT)
    assert ended.returncode == 0, ended.stderr
    assert "warning: dt = 0.01 is longer than the stable step of ifrk3" in ended.stdout
    assert "use a smaller time.dt (up to " in ended.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["time.dt=0.001", "time.scheme='ab2cn'"],
        ["time.dt=0.001"],
        ["time.dt=0.001", "time.scheme='ifrk3'", "base.flow.beta=1.0"],
    ],
)
@pytest.mark.parametrize("n", [128, 256])
def test_a_member_takes_at_most_fourteen_fields_of_the_product_grid(
    tmp_path, monkeypatch, n, options
):
    """Whatever numpy and FFTW allocate from start to end: solver, diagnostics, samples."""
    ensemble = ["base.ensemble.members=1", "base.ensemble.spin_up=0.002"]
    more = ["base.ensemble.interval=0.002", "filter.n=[32]", "checkpoint.seconds=1e6"]
    case = make_case(tmp_path, f"grid.n={n}", *ensemble, *more, *options)
    # What is compiled or loaded at first use is not a field.
    STAGE.run(Job(case, World.single(), tmp_path / "first", systems=("base",)))
    gc.collect()
    tracemalloc.start()
    try:
        STAGE.run(Job(case, World.single(), tmp_path / "out", systems=("base",)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    field = 8 * (1.5 * n) ** 2
    assert 5 * field < peak <= 14 * field, f"{peak / field:.1f} fields"


def test_held_counts_every_array_once():
    whole = np.zeros(100)
    assert array_bytes({"a": whole, "b": [whole[3:7], whole]}) == 800
