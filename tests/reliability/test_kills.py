"""Killed at random moments, as often as EDDYSCOPE_KILLS says, a run loses nothing.

    EDDYSCOPE_KILLS=50 EDDYSCOPE_KILLS_RESULT=jobs/results/kills.json \\
        python -m pytest tests/reliability/test_kills.py
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.storage.drivers.mpio import has_parallel_hdf5
from eddyscope.storage.drivers.registry import STORAGE_DRIVERS
from eddyscope.storage.small import read_tree
from reliability.test_bad_input import make_folder
from reliability.test_interrupted import newest_checkpoint, started, wait_for
from reliability.test_stop_resume import LIMIT
from small_flows import CASE, assert_same_arrays, write_case

KILLS = int(os.environ.get("EDDYSCOPE_KILLS", "4"))
"""How often the run is killed."""

RESULT = os.environ.get("EDDYSCOPE_KILLS_RESULT")
"""File that the counts are written to."""

OPTIONS = ["time.scheme='ifrk3'", "time.dt=0.005", f"base.ensemble.samples={30 * KILLS}"]
"""Eight steps a sample, a checkpoint every four; so many that no job ends before it is killed."""

STARTING = 3
"""Every so many jobs are killed while they start, the others while they sample."""


DRIVERS = [name for name in STORAGE_DRIVERS if name != "mpio" or has_parallel_hdf5()]


def command(case: Path, out: Path, *options: str) -> list[str]:
    arguments = ["dns", str(case), "--system", "base", "--out", str(out), *OPTIONS, *options]
    return [sys.executable, "-m", "eddyscope", *arguments]


def run_and_kill(
    case: Path, out: Path, ranks: int, delay: float, starting: bool, driver: str
) -> bool:
    """Start a job, and kill it so many seconds after its start, or after its first new
    checkpoint; False if it ended before that."""
    before = newest_checkpoint(out)
    with started(ranks, command(case, out, f"storage.driver={driver}")) as process:
        if not starting:
            wait_for(lambda: newest_checkpoint(out) > before, process)
        time.sleep(delay)
        return process.poll() is None


@pytest.mark.parametrize("driver", DRIVERS)
def test_killed_at_random_moments_it_ends_with_the_same_bits(launch, tmp_path, driver):
    case = write_case(tmp_path, CASE)
    out, dataset = tmp_path / "out", tmp_path / "out" / "base" / "dataset.h5"
    rng = np.random.default_rng(50)
    counts = {"kills": 0, "while sampling": 0, "ended before": 0, "samples verified": 0}
    done = 0
    for number in range(KILLS):
        starting = number % STARTING == 0
        delay = rng.uniform(0.3, 2.5) if starting else rng.uniform(0.0, 0.1)
        killed = run_and_kill(case, out, 1 + number % 2, delay, starting, driver)
        counts["kills" if killed else "ended before"] += 1
        if not dataset.exists():
            continue
        found = Dataset(dataset)
        assert found.verify() == []
        committed = int(found.committed.sum())
        assert committed >= done, "a committed sample is gone"
        counts["while sampling"] += committed > done and not found.complete
        counts["samples verified"] += committed
        done = committed
    assert counts["kills"] > 0, "every job ended before it was killed"
    last = [f"storage.driver={driver}", "checkpoint.seconds=1e6"]
    ended = launch(3, command(case, out, *last), LIMIT)
    assert ended.returncode == 0, ended.stderr
    calm = tmp_path / "calm"
    ended = launch(2, command(case, calm, "checkpoint.seconds=1e6"), LIMIT)
    assert ended.returncode == 0, ended.stderr
    assert not newest_checkpoint(calm)
    assert_same_arrays(dataset, calm / "base" / "dataset.h5")
    if RESULT:
        keep(counts)


def keep(counts: dict[str, int]) -> None:
    words = f"EDDYSCOPE_KILLS={KILLS} python -m pytest tests/reliability/test_kills.py"
    record = {"command": words, "same bits at the end": True, **counts}
    Path(str(RESULT)).write_text(json.dumps(record, indent=1) + "\n")


SMALL_ARTEFACTS = {"advise": "advice", "evaluate": "evaluation"}
"""Stage -> the name of its .h5 and .json."""


@pytest.mark.parametrize("stage", list(SMALL_ARTEFACTS))
def test_a_stage_that_is_killed_leaves_no_half_artefact(launch, tmp_path, stage):
    """Whatever is there is whole; called again, the stage ends with what a calm run gives."""
    (tmp_path / "here").mkdir()
    make_folder(tmp_path / "here")
    out, name = tmp_path / "here" / "out", SMALL_ARTEFACTS[stage]
    case = tmp_path / "here" / "synthetic.toml"
    words = [sys.executable, "-m", "eddyscope", stage, str(case), "--out", str(out)]
    rng = np.random.default_rng(7)
    for path in out.glob(f"{name}.*"):  # made up, for tests of what reads them
        path.unlink()
    for _ in range(max(2, KILLS // 2)):
        with started(1, words) as process:
            wait_for((out / "status" / f"{stage}.json").exists, process)
            time.sleep(rng.uniform(0.0, 1.0))
        if (out / f"{name}.h5").exists():
            read_tree(out / f"{name}.h5")
        if (out / f"{name}.json").exists():
            json.loads((out / f"{name}.json").read_text())
    ended = launch(1, words, LIMIT)
    assert ended.returncode == 0, ended.stderr
    assert read_tree(out / f"{name}.h5").attrs["case_name"] == "synthetic"
    assert not list(out.rglob("*.tmp"))
