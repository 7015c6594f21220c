"""Killed at random moments, as often as EDDYSCOPE_KILLS says, a run loses nothing.

    EDDYSCOPE_KILLS=50 EDDYSCOPE_KILLS_RESULT=jobs/results/kills.json \\
        python -m pytest tests/reliability/test_kills.py
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.status import read_status
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import guard
from eddyscope.storage.drivers.mpio import has_parallel_hdf5
from eddyscope.storage.drivers.registry import STORAGE_DRIVERS
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
    assert guard(lambda: dispatch(command(case, calm, "checkpoint.seconds=1e6")[3:])) == 0
    assert not newest_checkpoint(calm)
    assert_same_arrays(dataset, calm / "base" / "dataset.h5")
    if RESULT:
        keep(counts)


def keep(counts: dict[str, int]) -> None:
    words = f"EDDYSCOPE_KILLS={KILLS} python -m pytest tests/reliability/test_kills.py"
    record = {"command": words, "same bits at the end": True, **counts}
    Path(str(RESULT)).write_text(json.dumps(record, indent=1) + "\n")


# --- Stages that make small artefacts ------------------------------------------------------

OUTPUTS = {
    "advise": ["advice.*"],
    "evaluate": ["evaluation.*"],
    "les": ["les/*"],
    "analyze": ["analysis.h5"],
    "report": ["report/*"],
}
"""Stage -> what it makes."""

SHORT = {"les": ["les.closures=['none','l02']", "les.duration=0.2"]}
"""Stage -> settings that keep it short."""


LET_GO = 10.0
"""Seconds in which a killed process is gone, with its locks."""


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    """A case whose datasets and models are there."""
    folder: Path = tmp_path_factory.mktemp("ready")
    make_folder(folder)
    return folder


@pytest.fixture(scope="module")
def evaluated(ready, tmp_path_factory) -> Path:
    """The case, its models evaluated."""
    folder = without_outputs(ready, tmp_path_factory.mktemp("evaluated") / "here", "evaluate")
    assert dispatch(words_of("evaluate", folder)) == 0
    return folder


def without_outputs(ready: Path, folder: Path, stage: str) -> Path:
    """A copy of the case without what the stage makes."""
    shutil.copytree(ready, folder)
    for pattern in OUTPUTS[stage]:
        for path in (folder / "out").glob(pattern):
            path.unlink()
    return folder


def words_of(stage: str, folder: Path) -> list[str]:
    out = str(folder / "out")
    return [stage, str(folder / "synthetic.toml"), "--out", out, *SHORT.get(stage, [])]


def contents(stage: str, folder: Path) -> dict[str, object]:
    """What the stage has made: each file by its name, without the times that some tell."""
    files = [path for pattern in OUTPUTS[stage] for path in (folder / "out").glob(pattern)]
    return {path.name: content(path) for path in files if path.suffix != ".tmp"}


def content(path: Path) -> object:
    if path.suffix == ".json":
        return untimed(json.loads(path.read_text()))
    if path.suffix == ".html":
        return path.read_text().rstrip().endswith("</html>")
    return path.read_bytes()


def untimed(tree: object) -> object:
    """A JSON artefact without the seconds that its making took, and so without its digest."""
    if isinstance(tree, dict):
        return {k: untimed(v) for k, v in tree.items() if k not in ("seconds", "digest")}
    return [untimed(entry) for entry in tree] if isinstance(tree, list) else tree


def records(stage: str, folder: Path) -> list[Path]:
    """The status files of a stage's steps; there are none of `report`."""
    return sorted((folder / "out" / "status").glob(f"{stage}*.json"))


def stamp(stage: str, folder: Path) -> list[tuple[str, int]]:
    """Changes when the stage begins its work."""
    report = sorted((folder / "out" / "report").glob("*.png"))
    begun = report if stage == "report" else records(stage, folder)
    return [(path.name, path.stat().st_mtime_ns) for path in begun if path.exists()]


def state_after_a_kill(path: Path) -> str:
    """What readers see, once the system has taken the lock from the ranks that are gone."""
    deadline = time.monotonic() + LET_GO
    while (found := read_status(path)) is not None and found.state == "running":
        assert time.monotonic() < deadline, "a killed step is called running"
        time.sleep(0.01)
    return "none" if found is None else found.state


@pytest.mark.parametrize("stage", list(OUTPUTS))
def test_a_stage_that_is_killed_leaves_no_half_artefact(ready, tmp_path, stage):
    """Whatever is there is whole; called again, the stage makes what a calm run does."""
    calm = without_outputs(ready, tmp_path / "calm", stage)
    assert guard(lambda: dispatch(words_of(stage, calm))) == 0
    expected = contents(stage, calm)
    here = without_outputs(ready, tmp_path / "here", stage)
    words = [sys.executable, "-m", "eddyscope", *words_of(stage, here)]
    rng = np.random.default_rng(7)
    killed = 0
    for number in range(max(2, KILLS // 2)):
        before = stamp(stage, here)
        with started(1 + number % 2, words) as process:
            wait_for(lambda: stamp(stage, here) != before, process)  # noqa: B023
            time.sleep(rng.uniform(0.0, 0.6))
            killed += process.poll() is None
        for name, found in contents(stage, here).items():
            assert found == expected[name], f"{name} is not whole"
        states = {state_after_a_kill(path) for path in records(stage, here)}
        assert states <= {"interrupted", "complete"}
        assert states or stage == "report"
    assert killed > 0, "every job ended before it was killed"
    assert guard(lambda: dispatch(words_of(stage, here))) == 0
    assert contents(stage, here) == expected
    assert not list(here.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["evaluation.csv", "evaluation.h5", "evaluation.json"])
def test_a_changed_byte_of_an_output_is_noticed_by_the_same_command(evaluated, tmp_path, name):
    folder = tmp_path / "here"
    shutil.copytree(evaluated, folder)
    path = folder / "out" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(CaseError, match=f"{name}: not as evaluate made it"):
        dispatch(words_of("evaluate", folder))
    assert path.read_bytes() == content
