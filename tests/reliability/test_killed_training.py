"""Training and re-training that are killed, one rank or all of them, end as if they never were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.model import read_model
from eddyscope.parallel.world import World
from in_turn import in_turn
from reliability.test_interrupted import descendants, started, wait_for
from synthetic import make_case, write_datasets

LIMIT = 240.0
"""Seconds for one job."""

SETTINGS = {
    "train": ["training.epochs=60", "training.learning_rate=1e-3", "training.checkpoint_every=1"],
    "transfer": ["training.epochs=60", "training.learning_rate=1e-3",
                 "training.checkpoint_every=1", "transfer.layers=['l01', 'l03']",
                 "transfer.controls=['scale', 'all']", "transfer.samples=4", "transfer.folds=2",
                 "transfer.recipes=['chosen']", "transfer.rates=[1e-3, 3e-3]",
                 "transfer.epochs=40"],
}  # fmt: skip
"""Stage -> a case that takes some seconds of it; re-training chooses of two rates by two folds."""

MADE = {"train": "models/base.*", "transfer": "models/transfer/*"}
"""What a stage writes while it is at work: checkpoints, what is known of a choice, models."""


def words_of(stage: str, folder: Path) -> list[str]:
    case, out = str(folder / "synthetic.toml"), str(folder / "out")
    return [stage, case, "--out", out, "checkpoint.seconds=0", *SETTINGS[stage]]


def prepared(stage: str, folder: Path) -> Path:
    """A folder with all that a stage reads."""
    folder.mkdir()
    write_datasets(make_case(folder), folder / "out", World.single())
    if stage == "transfer":
        assert dispatch(words_of("train", folder)) == 0
    return folder


def written(stage: str, folder: Path) -> dict[str, int]:
    """What the stage has written, and when."""
    times = {}
    for path in (folder / "out").glob(MADE[stage]):
        with suppress(FileNotFoundError):
            times[path.name] = path.stat().st_mtime_ns
    return times


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """Process ids of the ranks that mpirun has started."""
    return [pid for pid in descendants(process.pid) if b"eddyscope" in arguments_of(pid)][1:]


def arguments_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def killed(stage: str, folder: Path, delay: float, one_rank: bool) -> bool:
    """One call, killed so long after it has written something; False if it ended before that."""
    before = written(stage, folder)
    words = [sys.executable, "-m", "eddyscope", *words_of(stage, folder)]
    with started(2, words) as process:
        wait_for(lambda: written(stage, folder) != before, process)
        time.sleep(delay)
        was_at_work = process.poll() is None
        if was_at_work and one_rank:
            last = ranks_of(process)[-1]
            os.kill(last, signal.SIGKILL)
            assert process.wait(LIMIT) != 0, "one rank was killed, and the job said nothing of it"
    return was_at_work


def models(folder: Path) -> dict[str, bytes]:
    """Every model that is there, by its name; each loads."""
    found = {}
    for path in sorted((folder / "out" / "models").rglob("*.safetensors")):
        read_model(path)
        found[path.name] = path.read_bytes()
    return found


@pytest.mark.parametrize("stage", list(SETTINGS))
def test_killed_again_and_again_it_ends_with_the_same_bytes(launch, tmp_path: Path, stage: str):
    here, calm = (prepared(stage, tmp_path / name) for name in ("here", "calm"))
    rng = np.random.default_rng(len(stage))
    kills = 0
    for one_rank in (True, False):
        kills += killed(stage, here, rng.uniform(0.0, 0.4), one_rank)
        models(here)
    assert kills, "every job ended before it was killed"
    half_done = written(stage, here)
    ended = in_turn(launch, 2, [words_of(stage, here), words_of(stage, calm)], LIMIT)
    assert [each.returncode for each in ended] == [0, 0], [each.stderr for each in ended]
    assert half_done, "nothing was left of what was killed"
    assert models(here) == models(calm)
    left = {path.suffix for path in (here / "out" / "models").rglob("*.*")}
    assert left == {".safetensors", ".jsonl"}  # no checkpoint, nor what is known of a choice
