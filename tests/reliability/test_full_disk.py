"""A disk that is too small, fills up while a run writes, or cannot be written at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.model import read_model
from eddyscope.artefacts.status import read_last, read_status
from eddyscope.parallel.failure import guard
from eddyscope.storage.small import read_tree
from in_turn import in_turn, on_ranks
from reliability.test_bad_input import make_folder
from reliability.test_interrupted import started, wait_for
from small_flows import CASE, assert_same_arrays, write_case

LIMIT = 120.0
"""Seconds for one job; those that hang are ended by it, and fail."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`small_disk(kibibytes, name)`: an empty disk of that size."""
    mounted: list[Path] = []

    def mount(kibibytes: int, name: str = "disk") -> Path:
        disk = tmp_path / name
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


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    """Some hundred steps with a checkpoint after each."""
    text = CASE.replace("samples = 3", "samples = 40").replace("n = [8]", "n = [16]")
    folder = tmp_path_factory.mktemp("case")
    return write_case(folder, text.replace("diagnostics = 2", "diagnostics = 4"))


SHORT = ("time.scheme='ifrk3'", "time.dt=0.002")


@pytest.fixture(scope="module")
def calm(case, tmp_path_factory) -> Path:
    """The dataset of a run on a disk that is large enough."""
    out: Path = tmp_path_factory.mktemp("calm")
    words = command(case, out, "checkpoint.seconds=1e6", *SHORT)[3:]
    assert guard(lambda: dispatch(words)) == 0
    return out / "base" / "dataset.h5"


def command(case: Path, out: Path, *options: str) -> list[str]:
    arguments = ["dns", str(case), "--system", "base", "--out", str(out), *options]
    return [sys.executable, "-m", "eddyscope", *arguments]


def message(errors: str) -> str:
    """The program's own words: one line, beside what the launcher adds."""
    assert "Traceback" not in errors and "HDF5" not in errors and "signal" not in errors, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("eddyscope: ")]
    return line


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_disk_too_small_for_the_dataset_is_refused(launch, capfd, small_disk, case, ranks):
    disk = small_disk(300)
    (ended,) = on_ranks(launch, capfd, ranks, [command(case, disk / "out")[3:]], LIMIT)
    assert ended.returncode == 2, ended.stderr
    words = message(ended.stderr)
    for part in (str(disk / "out"), "will write 0.", "MiB are free", "--out"):
        assert part in words
    assert not list(disk.rglob("*.h5*")), "nothing is begun that cannot be ended"


def fill(disk: Path) -> Path:
    """Leave no room on the disk, as another program's output would."""
    path = disk / "other"
    with open(path, "ab", buffering=0) as file:
        try:
            for piece in (4096, 1):
                while True:
                    file.write(bytes(piece))
        except OSError:
            pass
    return path


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_disk_that_fills_up_ends_the_run_and_loses_nothing(small_disk, case, calm, ranks):
    disk = small_disk(1200)
    out = disk / "out"
    dataset = out / "base" / "dataset.h5"
    with started(ranks, command(case, out, *SHORT)) as process:
        wait_for(lambda: dataset.exists() and Dataset(dataset).committed.any(), process)
        while process.poll() is None:  # a checkpoint that is removed leaves room for the next
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
    assert guard(lambda: dispatch(command(case, out, *SHORT)[3:])) == 0
    assert_same_arrays(dataset, calm)
    assert json.loads((out / "status.json").read_text())["state"] == "complete"


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_folder_that_cannot_be_written_is_refused(launch, capfd, small_disk, case, ranks):
    disk = small_disk(4000)
    (disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    outs = disk / "out", disk / "new"
    calls = [command(case, out)[3:] for out in outs]
    for out, ended in zip(outs, on_ranks(launch, capfd, ranks, calls, LIMIT), strict=True):
        assert ended.returncode == 2, ended.stderr
        words = message(ended.stderr)
        assert str(out) in words and "--out" in words
    assert os.listdir(disk) == ["out"]


def test_samples_have_their_room_from_the_start(small_disk, case):
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


# --- Stages that write small artefacts -----------------------------------------------------

STAGES = {
    "train": [],
    "advise": [],
    "transfer": ["transfer.layers=['l02']"],
    "evaluate": [],
    "les": ["les.closures=['none']", "les.duration=0.1"],
    "analyze": [],
    "report": [],
}
"""Stage -> settings that keep it short."""

BLOCK = 4096
"""Bytes that files on these disks come in."""


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    """A case whose datasets and models are there."""
    folder: Path = tmp_path_factory.mktemp("ready")
    make_folder(folder)
    return folder


def stage_command(folder: Path, stage: str) -> list[str]:
    words = [stage, str(folder / "synthetic.toml"), "--out", str(folder / "out"), *STAGES[stage]]
    fresh = ["--fresh"] if stage in ("train", "transfer") else []
    return [sys.executable, "-m", "eddyscope", *words, *fresh]


def copy_case(ready: Path, folder: Path, stage: str) -> None:
    """The case without what the stage makes."""
    shutil.copytree(ready, folder)
    if stage == "evaluate":
        for path in (folder / "out").glob("evaluation.*"):
            path.unlink()


def leave_free(disk: Path, bytes_left: int) -> None:
    """Take all of the disk but so much."""
    with open(disk / "other", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - bytes_left)


def files_of(folder: Path) -> dict[str, bytes]:
    """Artefacts that are there, but for what is said about them."""
    spoken = ("status.json", ".lock")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(spoken) and path.parent.name != "status"
    }


def assert_whole(before: dict[str, bytes], folder: Path) -> None:
    """Nothing is half written: artefacts are as they were, gone by --fresh, or new and whole."""
    assert not list(folder.rglob("*.tmp*"))
    for name, content in files_of(folder).items():
        if before.get(name) != content and name.endswith(".safetensors"):
            read_model(folder / name)
        elif before.get(name) != content and name.endswith(".h5"):
            read_tree(folder / name)
        else:
            assert before.get(name, content) == content, name


def said_of_the_disk(ended: Any) -> str:
    """What a job said that could not write: one line, status 1."""
    assert ended.returncode == 1, ended.stderr
    words = message(ended.stderr)
    assert "No space left on device" in words and "free space" in words and "--out" in words
    return words


def assert_truthful(folder: Path, stage: str) -> None:
    """What readers see: the step ended. Where not even that could be written, its lock tells."""
    summary = read_last(folder / "out")
    assert summary is None or summary.state in ("failed", "interrupted")
    for record in (folder / "out" / "status").glob(f"{stage}*.json"):
        found = read_status(record)
        assert found is not None and found.state != "running"


def test_a_stage_on_a_disk_with_some_blocks_left_leaves_nothing_half_written(
    launch, small_disk, ready
):
    """In a job on two ranks: HDF5 ends programs that cannot write a file it has open, and where
    one rank writes alone the other must hear of it. Each stage has a disk of its own."""
    folders = {stage: small_disk(4000, stage) / "here" for stage in STAGES}
    for stage, folder in folders.items():
        copy_case(ready, folder, stage)
        leave_free(folder.parent, 5 * BLOCK)
    before = {stage: files_of(folder) for stage, folder in folders.items()}
    calls = [stage_command(folder, stage)[3:] for stage, folder in folders.items()]
    for stage, ended in zip(STAGES, in_turn(launch, 2, calls, LIMIT), strict=True):
        said_of_the_disk(ended)
        assert_whole(before[stage], folders[stage])
        assert_truthful(folders[stage], stage)


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_on_a_full_disk_says_so(small_disk, ready, stage, capfd):
    disk = small_disk(4000)
    folder = disk / "here"
    copy_case(ready, folder, stage)
    leave_free(disk, 0)
    before = files_of(folder)
    assert guard(lambda: dispatch(stage_command(folder, stage)[3:])) == 1
    words = message(capfd.readouterr().err)
    assert "No space left on device" in words and "--out" in words
    assert_whole(before, folder)
    assert_truthful(folder, stage)


def test_where_not_even_failed_can_be_written_readers_see_an_interruption(small_disk, ready):
    """The disk fills once the step has said that it runs; its lock tells that it is gone."""
    disk = small_disk(4000)
    folder = disk / "here"
    copy_case(ready, folder, "les")
    record = folder / "out" / "status" / "les.none.json"
    long = [word.replace("duration=0.1", "duration=40.0") for word in stage_command(folder, "les")]
    with started(2, long) as process:
        wait_for(record.exists, process)
        wait_for(lambda: read_status(record).state == "running", process)
        fill(disk)
        while process.poll() is None:  # a file that is removed leaves room for another
            fill(disk)
            time.sleep(0.001)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 1, errors
    assert "No space left on device" in message(errors)
    assert '"running"' in record.read_text()
    assert read_status(record).state == "interrupted"
    assert read_last(folder / "out").state == "interrupted"


def test_stages_in_a_folder_that_cannot_be_written_are_refused_on_ranks(launch, small_disk, ready):
    disk = small_disk(4000)
    folder = disk / "here"
    shutil.copytree(ready, folder)
    before = files_of(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    # What is there of the evaluation has no record, and analyze reads it.
    fresh = {"evaluate": ["--fresh"]}
    commands = [[*stage_command(folder, stage)[3:], *fresh.get(stage, [])] for stage in STAGES]
    for ended in in_turn(launch, 2, commands, LIMIT):
        assert ended.returncode == 2, ended.stderr
        words = message(ended.stderr)
        assert str(disk) in words and "--out" in words
    assert files_of(folder) == before


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_in_a_folder_that_cannot_be_written_is_refused(small_disk, ready, stage, capfd):
    disk = small_disk(4000)
    folder = disk / "here"
    copy_case(ready, folder, stage)
    before = files_of(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert guard(lambda: dispatch(stage_command(folder, stage)[3:])) == 2
    words = message(capfd.readouterr().err)
    assert str(disk) in words and "--out" in words
    assert files_of(folder) == before
