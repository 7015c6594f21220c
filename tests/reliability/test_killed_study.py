"""A study that is killed again and again ends as one that never was."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.model import read_model
from eddyscope.artefacts.status import lock_file
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from eddyscope.stages import study_endings
from eddyscope.stages.study_endings import Waiting
from eddyscope.storage.lock import take_lock
from reliability.test_interrupted import started
from reliability.test_killed_training import ranks_of
from small_study import ONE, write_study

LIMIT = 240.0
"""Seconds for one call."""

MODEL = "cells/*/*/models/transfer/*.safetensors"

KILL_AT = ("systems/*/base/dataset.h5", MODEL, "cells/*/*/cell.json")
"""What is there when it is killed, call after call: one file more of the kind than before."""


def command(study: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "eddyscope", "study", str(study), "--out", str(out)]


def killed(study: Path, out: Path, pattern: str, ranks: int = 1) -> None:
    """One call, killed as soon as there is one more file of this name; of several ranks the last
    alone, which is to end the others."""
    before = len(list(out.glob(pattern)))
    with started(ranks, command(study, out)) as process:
        deadline = time.monotonic() + LIMIT
        while len(list(out.glob(pattern))) == before:
            assert process.poll() is None, f"it ended before there was one more {pattern}"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if ranks > 1:
            os.kill(ranks_of(process)[-1], signal.SIGKILL)
            assert process.wait(LIMIT) != 0, "one rank was killed, and the job said nothing of it"


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


def test_one_rank_of_a_study_is_killed(done: Path, whole: bytes, tmp_path: Path):
    """While each of two makes a cell of its own, which has the bits of one rank."""
    study, out = write_study(tmp_path, ONE), tmp_path / "out"
    shutil.copytree(done, out)
    for made in ("cells", "cases"):
        shutil.rmtree(out / made)
    killed(study, out, MODEL, ranks=2)
    assert guard(lambda: dispatch(command(study, out)[3:])) == 0
    assert (out / "study.csv").read_bytes() == whole
    made = sorted(path.relative_to(done) for path in done.glob(MODEL))
    assert len(made) == 6, "three models of each cell"
    for path in made:  # the case that a model names has the folders of its study
        ours, theirs = (read_model(folder / path).weights for folder in (out, done))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(array, theirs[name]) for name, array in ours.items()), path


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
    shutil.rmtree(out / "cases")
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

    shutil.rmtree(out / "cases", ignore_errors=True)
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
