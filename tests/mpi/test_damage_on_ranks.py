"""Every stage notices a flipped bit in what it reads: one line and status 2, on all ranks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eddyscope.__main__ import dispatch
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from reliability.test_bad_input import make_folder
from unit.test_damaged_dataset import flip, place_of

pytestmark = pytest.mark.mpi

READS = {
    "train": "base/dataset.h5:n016/pi:first",
    "transfer": "target/dataset.h5:n016/psi:first",
    "advise": "target/dataset.h5:n016/omega:first",
    "evaluate": "base/dataset.h5:n016/pi:last",
    "les": "target/dataset.h5:n016/omega:last",
    "analyze": "base/dataset.h5:n016/psi:last",
}
"""Stage -> what it reads of a training member (the first) or a test member (the last)."""


def damage(folder: Path, what: str) -> None:
    """Flip a bit of an array's first or last sample. Not collective."""
    name, array, where = what.split(":")
    path = folder / "out" / name
    last = place_of(path, array)
    flip(path, last if where == "last" else last - size_of(path, array) + 1)


def size_of(path: Path, array: str) -> int:
    import h5py

    with h5py.File(path) as file:
        return int(file[array].nbytes)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A case whose datasets and models are there; each rank has one of its own."""
    folder: Path = tmp_path_factory.mktemp("sound")
    make_folder(folder)
    return folder


@pytest.mark.parametrize("stage", list(READS))
def test_a_flipped_bit_ends_every_stage(world: World, sound, shared_tmp_path, capfd, stage):
    folder = shared_tmp_path / "here"

    def prepare() -> None:
        shutil.copytree(sound, folder)
        damage(folder, READS[stage])

    world.on_root(prepare)
    more = ["les.closures=['none']"] if stage == "les" else []
    words = [stage, str(folder / "synthetic.toml"), "--out", str(folder / "out")]
    status = guard(lambda: dispatch([*words, "--fresh", *more]))
    said = "".join(world.comm.allgather(capfd.readouterr().err))
    assert world.comm.allgather(status) == [2] * world.size, said
    (line,) = [line for line in said.splitlines() if line.startswith("eddyscope: ")]
    assert READS[stage].split(":")[0] in line and "damaged" in line and "Traceback" not in said
