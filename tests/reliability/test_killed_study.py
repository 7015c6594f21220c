"""A study that is killed again and again ends as one that never was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
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
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of a study that is not killed."""
    folder = tmp_path_factory.mktemp("whole")
    words = command(write_study(folder, ONE), folder / "out")
    assert guard(lambda: dispatch(words[3:])) == 0
    return (folder / "out" / "study.csv").read_bytes()


def test_a_study_ends_with_a_table(whole: bytes):
    assert whole.count(b"\n") > 50


def test_a_study_killed_at_every_stage_ends_alike(whole: bytes, tmp_path: Path):
    study, out = write_study(tmp_path, ONE), tmp_path / "out"
    for pattern in KILL_AT:
        killed(study, out, pattern)
    assert guard(lambda: dispatch(command(study, out)[3:])) == 0
    assert (out / "study.csv").read_bytes() == whole
