"""A disk that is too small, fills up while a run writes, or cannot be written at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.parallel.launch import launch as start_ranks
from reliability.test_interrupted import started, wait_for
from small_flows import CASE, assert_same_arrays, write_case

LIMIT = 60.0
"""Seconds for one job; those that hang are ended by it, and fail."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`small_disk(kibibytes, options)`: an empty disk of that size."""
    mounted: list[Path] = []

    def mount(kibibytes: int) -> Path:
        disk = tmp_path / "disk"
        disk.mkdir()
        size = f"size={kibibytes}k"
        tried = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], capture_output=True, text=True
        )
        if tried.returncode:
            pytest.skip(f"cannot mount a small disk here: {tried.stderr.strip()}")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """Some hundred steps with a checkpoint after each."""
    text = CASE.replace("samples = 3", "samples = 40").replace("n = [8]", "n = [16]")
    return write_case(tmp_path, text.replace("diagnostics = 2", "diagnostics = 4"))


def command(case: Path, out: Path, *options: str) -> list[str]:
    arguments = ["dns", str(case), "--system", "base", "--out", str(out), *options]
    return [sys.executable, "-m", "eddyscope", *arguments]


def message(errors: str) -> str:
    """The program's own words: one line, beside what the launcher adds."""
    assert "Traceback" not in errors and "HDF5" not in errors and "signal" not in errors, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("eddyscope: ")]
    return line


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_disk_too_small_for_the_dataset_is_refused(launch, small_disk, case, ranks):
    disk = small_disk(300)
    ended = launch(ranks, command(case, disk / "out"), LIMIT)
    assert ended.returncode == 2, ended.stderr
    words = message(ended.stderr)
    for part in (str(disk / "out"), "will write 0.", "MiB are free", "--out"):
        assert part in words
    assert not list(disk.rglob("*.h5*")), "nothing is begun that cannot be ended"


def fill(disk: Path) -> Path:
    """Leave no room on the disk, as another program's output would."""
    path = disk / "other"
    with open(path, "wb", buffering=0) as file:
        try:
            for piece in (4096, 1):
                while True:
                    file.write(bytes(piece))
        except OSError:
            pass
    assert shutil.disk_usage(disk).free == 0
    return path


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_disk_that_fills_up_ends_the_run_and_loses_nothing(launch, small_disk, case, ranks):
    disk = small_disk(1200)
    out = disk / "out"
    dataset = out / "base" / "dataset.h5"
    with started(ranks, command(case, out, "time.scheme='ifrk3'", "time.dt=0.002")) as process:
        wait_for(lambda: dataset.exists() and Dataset(dataset).committed.any(), process)
        filled = fill(disk)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 1, errors
    words = message(errors)
    for part in ("checkpoints/", "No space left on device", "free space", "--out"):
        assert part in words
    found = Dataset(dataset)
    assert found.committed.any() and not found.complete
    assert found.verify() == []
    assert not list(disk.rglob("*.tmp"))
    filled.unlink()
    again = launch(2, command(case, out, "time.scheme='ifrk3'", "time.dt=0.002"), LIMIT)
    assert again.returncode == 0, again.stderr
    elsewhere = case.parent / "elsewhere"
    calm = command(
        case, elsewhere, "checkpoint.seconds=1e6", "time.scheme='ifrk3'", "time.dt=0.002"
    )
    assert start_ranks(1, calm, LIMIT).returncode == 0
    assert_same_arrays(dataset, elsewhere / "base" / "dataset.h5")
    assert json.loads((out / "status.json").read_text())["state"] == "complete"


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_folder_that_cannot_be_written_is_refused(launch, small_disk, case, ranks):
    disk = small_disk(4000)
    (disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for out in (disk / "out", disk / "new"):
        ended = launch(ranks, command(case, out), LIMIT)
        assert ended.returncode == 2, ended.stderr
        words = message(ended.stderr)
        assert str(out) in words and "--out" in words
    assert os.listdir(disk) == ["out"]


def test_samples_have_their_room_from_the_start(launch, small_disk, case):
    """A disk that fills while no checkpoint is written does not stop a run: its bytes are kept
    for it."""
    disk = small_disk(1200)
    out = disk / "out"
    quiet = ["checkpoint.seconds=1e6", "time.dt=0.0005"]
    with started(2, command(case, out, *quiet)) as process:
        dataset = out / "base" / "dataset.h5"
        wait_for(lambda: dataset.exists() and Dataset(dataset).committed.any(), process)
        before = dataset.stat().st_blocks * 512
        assert before >= dataset.stat().st_size, "blocks are still to be found"
        filled = fill(disk)
        wait_for(lambda: Dataset(dataset).complete, process)
        filled.unlink()
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    assert Dataset(dataset).complete and Dataset(dataset).verify() == []
