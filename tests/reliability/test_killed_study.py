"""A study that is killed again and again ends as one that never was."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.status import lock_file
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from eddyscope.stages import study_endings
from eddyscope.stages.study_endings import Waiting
from eddyscope.storage.lock import take_lock
from small_study import ONE, write_study

LIMIT = 240.0
"""Seconds for one call."""

KILL_AT = ("systems/*/base/dataset.h5", "cells/*/*/models/transfer/*.safetensors",
           "cells/*/*/cell.json")  # fmt: skip
"""What is there when it is killed, call after call: one file more of the kind than before."""


def command(study: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "eddyscope", "study", str(study), "--out", str(out)]


def killed(study: Path, out: Path, pattern: str) -> None:
    """One call, killed as soon as there is one more file of this name."""
    before = len(list(out.glob(pattern)))
    process = subprocess.Popen(command(study, out), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + LIMIT
    while len(list(out.glob(pattern))) == before:
        assert process.poll() is None, f"it ended before there was one more {pattern}"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a study that is not killed."""
    folder = tmp_path_factory.mktemp("whole")
    words = command(write_study(folder, ONE), folder / "out")
    assert guard(lambda: dispatch(words[3:])) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def whole(done: Path) -> bytes:
    """Its table."""
    return (done / "study.csv").read_bytes()


def test_a_study_ends_with_a_table(whole: bytes):
    assert whole.count(b"\n") > 50


def test_a_study_killed_at_every_stage_ends_alike(whole: bytes, tmp_path: Path):
    study, out = write_study(tmp_path, ONE), tmp_path / "out"
    for pattern in KILL_AT:
        killed(study, out, pattern)
    assert guard(lambda: dispatch(command(study, out)[3:])) == 0
    assert (out / "study.csv").read_bytes() == whole


def locked(record: Path) -> BinaryIO:
    """The lock that a program has which is at work on the step of this record."""
    record.parent.mkdir(parents=True, exist_ok=True)
    file = take_lock(lock_file(record))
    assert file is not None
    return file


def test_what_another_program_is_at_work_on_is_left_to_it(
    done: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    """Its cells are no failures; those are come back to, and what needs a simulation of its."""
    study, out = write_study(tmp_path, ONE), tmp_path / "out"
    shutil.copytree(done, out)
    call = command(study, out)[3:]
    mine, theirs = sorted((out / "cells" / "forward").iterdir())
    for folder in (mine, theirs):
        shutil.rmtree(folder)
    with monkeypatch.context() as patch, locked(theirs / "status" / "transfer.json"):
        patch.setattr(study_endings, "PATIENCE", -1.0)
        assert guard(lambda: dispatch([*call, "--do", "cells"])) == 0
    said = capfd.readouterr()
    assert f"forward, {theirs.name}: left to another program" in said.out
    assert "study: 1 left to another program" in said.out and not said.err
    assert (mine / "cell.json").exists() and not (theirs / "cell.json").exists()

    (system, *_) = (out / "systems").iterdir()
    shutil.rmtree(system)
    shutil.rmtree(mine)
    file = locked(system / "base" / "status.json")
    waits = Waiting.is_over

    def let_go(self: Waiting, left: int, world: World) -> bool:
        file.close()
        return waits(self, left, world)

    monkeypatch.setattr(Waiting, "is_over", let_go)
    assert guard(lambda: dispatch(call)) == 0
    said = capfd.readouterr()
    assert said.out.count("left to another program") >= 3, "a simulation, and both cells"
    assert not said.err
    assert (out / "study.csv").read_bytes() == whole
