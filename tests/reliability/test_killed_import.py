"""An import that is killed leaves nothing that could be taken for a dataset."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import imports
from imports import DIMS


def test_a_kill_leaves_nothing_that_looks_like_a_dataset(tmp_path):
    """And the next call makes it anew."""
    options = imports.save(tmp_path, {k: np.tile(v, (1, 40, 1, 1)) for k, v in GIVEN.items()})
    out, begun = tmp_path / "out.h5", tmp_path / "out.h5.importing"
    command = [sys.executable, "-m", "eddyscope", "import", str(out), *options, *DIMS]
    # One rank, which stops itself where it would give the file its name.
    patch = tmp_path / "sitecustomize.py"
    patch.write_text(STOP_BEFORE_THE_END)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}) as process:
        wait_for((tmp_path / "stopped").exists, process)
        assert begun.exists() and not out.exists()
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    patch.unlink()
    dataset = imports.run(out, *options, *DIMS)
    assert dataset.complete and dataset.samples == 120 and not begun.exists()


GIVEN = imports.arrays()

STOP_BEFORE_THE_END = """
import os, pathlib, time
replace = os.replace
def stop(old, new):
    if str(new).endswith("out.h5"):
        pathlib.Path(__file__).with_name("stopped").touch()
        time.sleep(600)
    replace(old, new)
os.replace = stop
"""


def wait_for(
    true: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 100.0
) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
