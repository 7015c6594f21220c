"""What all ranks write into one file, by each driver, and the dataset's writer on top of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset import writer as writing
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.writer import DatasetWriter, Layout, create, mend, size
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import CannotWrite, NotFinite
from eddyscope.parallel.world import World, block
from eddyscope.storage.drivers import base, direct
from eddyscope.storage.drivers.direct import Bytes, DirectFile
from eddyscope.storage.drivers.mpio import has_parallel_hdf5
from eddyscope.storage.drivers.registry import STORAGE_DRIVERS
from eddyscope.storage.opening import open_to_read
from eddyscope.storage.seal import footer_of, is_sealed, keep_aside
from eddyscope.storage.shared_file import lay_out, new_file, open_to_overwrite
from eddyscope.storage.variables import Group, Tree, Variable

pytestmark = pytest.mark.mpi

SAMPLES = 5

ATTRIBUTES = {"case": "{}", "system": "base"}


@pytest.fixture(params=list(STORAGE_DRIVERS))
def driver(request):
    """The settings of each driver that this machine has."""
    if request.param == "mpio" and not has_parallel_hdf5():
        pytest.skip("h5py is not built with MPI here: EDDYSCOPE_HDF5=mpi bash jobs/local/setup.sh")
    return STORAGE_DRIVERS.settings(request.param)


# --- Arrays that all ranks overwrite -------------------------------------------------------


def two(shape: tuple[int, ...]) -> Tree:
    """A file with arrays "a" and "g/b", not written yet."""
    return {
        "": Group({"a": Variable((), shape=shape, dtype="f8")}),
        "g": Group({"b": Variable((), shape=shape, dtype="f4")}),
    }


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
@pytest.mark.parametrize("sizes", [None, (60, 40)])
def test_every_piece_finds_its_place(world, shared_tmp_path, monkeypatch, driver, rows, sizes):
    """With fewer rows than ranks too; sent to rank 0, or written by their own rank in parts."""
    if sizes is not None:
        monkeypatch.setattr(direct, "GATHERED_BELOW", sizes[0])
        monkeypatch.setattr(direct, "LARGEST_WRITE", sizes[1])
    expected = np.random.default_rng(0).standard_normal((rows, 3, 4))
    path = shared_tmp_path / "a.h5"
    lay_out(path, world.comm, two(expected.shape))
    mine = range(world.rank, len(expected), world.size)
    with open_to_overwrite(path, world.comm, driver) as file:
        file.write([file.piece(name, (i,), expected[i]) for i in mine for name in ("a", "g/b")])
        file.sync()
    with open_to_read(path) as file:
        np.testing.assert_array_equal(file["a"], expected)
        np.testing.assert_array_equal(file["g/b"], expected.astype("f4"))
    assert is_sealed(path)


def test_a_new_file_appears_only_when_complete_and_opens_in_xarray(
    world, shared_tmp_path, everywhere, driver
):
    path = shared_tmp_path / "a.h5"
    variables = {
        "y": Variable(("y",), np.arange(5) / 5, units="rad", long_name="row"),
        "x": Variable(("x",), np.arange(6) / 6, units="rad", long_name="column"),
        "omega": Variable(("y", "x"), shape=(5, 6), dtype="f4", long_name="vorticity"),
    }
    expected = np.arange(30, dtype="f4").reshape(5, 6)
    mine = block(5, world.size, world.rank)
    with new_file(path, world.comm, {"": Group(variables)}, driver) as file:
        everywhere(not path.exists(), "there before it is complete")
        world.comm.Barrier()
        some = mine.start < mine.stop
        file.write([file.piece("omega", (mine.start,), expected[mine])] if some else [])
    everywhere(path.exists(), "not there")
    everywhere(not path.with_name("a.h5.tmp").exists(), "temporary file left")
    everywhere(is_sealed(path), "not sealed")
    with xr.open_dataset(path, engine="h5netcdf") as read:
        assert read["omega"].dims == ("y", "x")
        assert read["omega"].attrs["long_name"] == "vorticity"
        np.testing.assert_array_equal(read["omega"], expected)
        np.testing.assert_array_equal(read["x"], np.arange(6) / 6)


def test_a_folder_that_cannot_be_is_a_case_error_everywhere(world, shared_tmp_path):
    (shared_tmp_path / "file").write_text("")
    world.comm.Barrier()
    with pytest.raises(CaseError, match="choose another folder with --out"):
        with new_file(shared_tmp_path / "file" / "a.h5", world.comm, {}):
            pass


def test_a_place_beyond_four_gigabytes(world, shared_tmp_path):
    path = shared_tmp_path / "far.h5"
    far = 5 * 2**30
    if world.is_root:
        with open(path, "wb") as file:  # nearly all of it a hole, that takes no disk
            file.truncate(far)
    world.comm.Barrier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_places", lambda path: {})
        file = DirectFile(DirectFile.Settings(), path, world.comm)
    mine = np.full(3, world.rank + 1, "u1")
    file._write_one(Bytes(far + 3 * world.rank, mine))
    file._write_one(Bytes(3 * world.rank, mine))
    file.close()
    world.comm.Barrier()
    with open(path, "rb") as file:
        for start in (0, far):
            file.seek(start)
            found = np.frombuffer(file.read(3 * world.size), "u1")
            np.testing.assert_array_equal(found, np.repeat(np.arange(world.size) + 1, 3))


def test_a_block_may_go_on_along_the_last_axis_indexed_but_no_further(
    world, shared_tmp_path, driver
):
    path = shared_tmp_path / "a.h5"
    lay_out(path, world.comm, two((2, 5, 3)))
    with open_to_overwrite(path, world.comm, driver) as file:
        assert base.first_value(file.places["a"], (1, 2)) == 5 * 3 + 2 * 3
        if world.is_root:
            file.write([file.piece("a", (1, 2), np.ones((3, 3)))])
        else:
            file.write([])
        with pytest.raises(ValueError, match="do not fit"):
            file.piece("a", (0, 2), np.zeros((4, 3)))
        file.write([file.piece("a", (0,), np.full((5, 3), 2.0))] if world.is_root else [])
        file.sync()
    with open_to_read(path) as file:
        np.testing.assert_array_equal(file["a"][1, 2:], np.ones((3, 3)))
        np.testing.assert_array_equal(file["a"][0], np.full((5, 3), 2.0))
        np.testing.assert_array_equal(file["a"][1, :2], np.zeros((2, 3)))


@pytest.fixture
def small_disk(world, shared_tmp_path) -> Iterator[Path]:
    """A disk of 200 KiB, the same on all ranks."""
    disk = shared_tmp_path / "disk"
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]

    def mount() -> int:
        disk.mkdir()
        return subprocess.run(command, capture_output=True).returncode

    if world.on_root(mount):
        pytest.skip("cannot mount a small disk here")
    yield disk
    world.on_root(lambda: subprocess.run(["umount", "--lazy", str(disk)], check=True))


@pytest.mark.parametrize("size", [8, 2**17])
def test_a_full_disk_is_one_error_on_all_ranks(
    world, small_disk, monkeypatch, driver, everywhere, size
):
    """The last rank alone has something to write, and the disk has no bytes kept for it."""
    monkeypatch.setattr(os, "posix_fallocate", lambda *place: None)
    path = small_disk / "a.h5"
    lay_out(path, world.comm, {"": Group({"a": Variable((), shape=(2**20,), dtype="u1")})})
    last = world.rank == world.size - 1

    def write() -> None:
        with open_to_overwrite(path, world.comm, driver) as file:
            world.on_root(lambda: fill(small_disk))
            file.write([file.piece("a", (2**18,), np.ones(size, "u1"))] if last else [])

    with pytest.raises(CannotWrite, match=r"a\.h5: cannot be written"):
        write()
    everywhere(is_sealed(path), "the seal is gone")


def fill(disk: Path) -> None:
    """Leave nothing free on a disk."""
    with open(disk / "other", "wb", buffering=0) as file:
        for piece in (4096, 1):
            try:
                while True:
                    file.write(bytes(piece))
            except OSError:
                pass


def test_a_file_that_may_not_be_opened_is_one_error_on_all_ranks(world, shared_tmp_path, driver):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_places", lambda path: {})
        with pytest.raises(CannotWrite, match="cannot be written"):
            with open_to_overwrite(shared_tmp_path, world.comm, driver):  # a folder
                pass


def test_a_missing_or_damaged_file_is_a_case_error_on_all_ranks(world, shared_tmp_path, driver):
    path = shared_tmp_path / "a.h5"
    with pytest.raises(CaseError, match="no such"):
        with open_to_overwrite(path, world.comm, driver):
            pass
    lay_out(path, world.comm, two((2, 3)))
    if world.is_root:
        content = bytearray(path.read_bytes())
        content[200] ^= 1
        path.write_bytes(content)
    world.comm.Barrier()
    with pytest.raises(CaseError, match="damaged"):
        with open_to_overwrite(path, world.comm, driver):
            pass


@pytest.mark.skipif(has_parallel_hdf5(), reason="h5py is built with MPI here")
def test_a_driver_that_is_not_there_is_refused_with_the_way_out(world, shared_tmp_path):
    settings = STORAGE_DRIVERS.settings("mpio")
    with pytest.raises(CaseError, match=r"EDDYSCOPE_HDF5=mpi bash jobs/local/setup\.sh"):
        with open_to_overwrite(shared_tmp_path / "a.h5", world.comm, settings):
            pass


# --- The dataset's writer ------------------------------------------------------------------


@pytest.fixture(params=[1, 2], ids=["one layer", "two layers"])
def layout(request) -> Layout:
    grids = {4: 0.5, 6: 0.3}
    times = tuple(0.5 * s for s in range(SAMPLES))
    return Layout(3, times, (0.0, 1.0), 7, grids, full=8, layers=request.param)


def sample_of(layout: Layout, members: range, sample: int):
    """Fields, spectra and full fields of one sample, told apart by member, sample and name."""

    def field(n: int, m: int, name: str) -> np.ndarray:
        shape = (layout.layers, n, n)
        return np.random.default_rng([n, m, sample, len(name)]).standard_normal(shape)

    fields = {
        n: {m: {v: field(n, m, v) for v in schema.VARIABLES} for m in members} for n in layout.grids
    }
    spectra = {m: {v: np.full(7, m + 10.0 * sample) for v in schema.SPECTRA} for m in members}
    return fields, spectra, {m: field(8, m, "full") for m in members}


def members_of(world: World, layout: Layout) -> range:
    mine = block(layout.members, world.size, world.rank)
    return range(mine.start, mine.stop)


def opened(world: World, path: Path, layout: Layout, driver):
    return DatasetWriter.opened(path, layout, world.comm, members_of(world, layout), driver)


@pytest.mark.parametrize("at_once", [1, 2, 99])
def test_what_is_given_is_what_is_read(
    world, shared_tmp_path, monkeypatch, layout, driver, at_once
):
    """Whether samples wait for each other or not; with ranks that own no member."""
    most = -(-layout.members // world.size)
    monkeypatch.setattr(writing, "WAITING", at_once * most * layout.member_bytes())
    path, mine = shared_tmp_path / "dataset.h5", members_of(world, layout)
    create(path, world.comm, layout, ATTRIBUTES)
    with opened(world, path, layout, driver) as writer:
        for s in range(SAMPLES):
            writer.add_sample(s, *sample_of(layout, mine, s))
    world.comm.Barrier()
    dataset = Dataset(path)
    assert dataset.complete
    assert dataset.verify() == []
    assert is_sealed(path)
    for s in range(SAMPLES):
        fields, spectra, full = sample_of(layout, range(layout.members), s)
        for n in layout.grids:
            for v in schema.VARIABLES:
                expected = np.array([fields[n][m][v] for m in range(layout.members)])
                np.testing.assert_array_equal(dataset.read(n, v)[:, s], expected.astype("f4"))
        for v in schema.SPECTRA:
            expected = np.array([spectra[m][v] for m in range(layout.members)])
            np.testing.assert_array_equal(dataset.spectra()[v][:, s], expected)
        expected = np.array([full[m] for m in range(layout.members)]).astype("f4")
        np.testing.assert_array_equal(dataset.read_full()[:, s], expected)


def test_a_sample_is_committed_only_once_it_is_written(
    world, shared_tmp_path, everywhere, layout, driver
):
    path, mine = shared_tmp_path / "dataset.h5", members_of(world, layout)
    create(path, world.comm, layout, ATTRIBUTES)

    def committed() -> list[bool]:
        world.comm.Barrier()
        found = Dataset(path).committed
        everywhere(bool(np.all(found == found[0])), "members differ")
        return [bool(mark) for mark in found[0]]

    with opened(world, path, layout, driver) as writer:
        assert committed() == [False] * 5
        writer.add_sample(0, *sample_of(layout, mine, 0))  # the first is not kept waiting
        assert committed() == [True, False, False, False, False]
        writer.add_sample(1, *sample_of(layout, mine, 1))
        assert committed() == [True, False, False, False, False]
        writer.commit()
        assert committed() == [True, True, False, False, False]
        writer.add_sample(2, *sample_of(layout, mine, 2))
        writer.add_sample(4, *sample_of(layout, mine, 4))  # after a gap: what waits goes first
        assert committed() == [True, True, False, False, False]
        world.comm.Barrier()
    assert committed() == [True, True, True, False, True]
    assert Dataset(path).verify() == []


def test_what_is_not_finite_is_refused_by_all_ranks_and_not_kept(
    world, shared_tmp_path, layout, driver
):
    """Of one rank's fields; in the dataset's precision, so 1e300 will not do either."""
    path, mine = shared_tmp_path / "dataset.h5", members_of(world, layout)
    create(path, world.comm, layout, ATTRIBUTES)
    with opened(world, path, layout, driver) as writer:
        writer.add_sample(0, *sample_of(layout, mine, 0))
        for bad in (np.nan, np.inf, 1e300):
            fields, spectra, full = sample_of(layout, mine, 1)
            if 1 in mine:
                fields[6][1]["pi"][-1, 2, 3] = bad
            with pytest.raises(NotFinite, match="sample 1 are not finite in float32"):
                writer.add_sample(1, fields, spectra, full)
    world.comm.Barrier()
    assert Dataset(path).committed.tolist() == [[True] + [False] * 4] * 3


def files_of(world: World, folder: Path, layout: Layout, driver, members: range) -> bytes:
    """The bytes of a dataset that is written whole. Collective."""
    path = folder / "dataset.h5"
    create(path, world.comm, layout, ATTRIBUTES)
    diagnostics = {name: np.arange(3.0) for name in schema.DIAGNOSTICS}
    mine = slice(members.start, members.stop)
    with DatasetWriter.opened(path, layout, world.comm, members, driver) as writer:
        for s in range(SAMPLES):
            writer.add_record(s, mine, {k: s + v[mine] for k, v in diagnostics.items()})
            writer.add_sample(s, *sample_of(layout, members, s))
    world.comm.Barrier()
    return path.read_bytes()


def test_the_same_bytes_however_many_ranks_write_them_and_however(
    world, shared_tmp_path, everywhere, layout, driver
):
    """As one rank alone writes them by the default driver."""
    layout = replace(layout, record_times=layout.sample_times)
    together = files_of(world, shared_tmp_path, layout, driver, members_of(world, layout))
    alone = shared_tmp_path / str(world.rank)
    every = range(layout.members)
    expected = files_of(World.single(), alone, layout, DirectFile.Settings(), every)
    everywhere(together == expected, "other bytes")


def test_a_seal_that_a_kill_took_is_restored(world, shared_tmp_path, everywhere, layout):
    """As it is when HDF5 has closed the file and the program ends before it is sealed again."""
    path = shared_tmp_path / "dataset.h5"
    create(path, world.comm, layout, ATTRIBUTES)
    if world.is_root:
        keep_aside(path)
        content = path.read_bytes()
        path.write_bytes(content[: -len(footer_of(path))])
    world.comm.Barrier()
    with pytest.raises(CaseError, match="killed as it ended"):
        Dataset(path)
    world.comm.Barrier()
    mend(path, world.comm)
    assert is_sealed(path)
    everywhere([p.name for p in shared_tmp_path.iterdir()] == ["dataset.h5"], "something is left")


def test_a_layout_of_a_thousand_million_samples_costs_nothing():
    class Times(Sequence):
        def __len__(self) -> int:
            return 10**9

        def __getitem__(self, index):
            raise AssertionError("no time is needed yet")

    layout = Layout(8, Times(), Times(), 31, {64: 0.1})
    assert layout.samples == 10**9
    assert size(layout, ATTRIBUTES) > 10**9 * layout.sample_bytes()
    with pytest.raises(CaseError, match=r"8000 members x 1000000000 samples .* lower"):
        size(replace(layout, members=8000, grids={1024: 0.1}), ATTRIBUTES)


def test_a_damaged_byte_of_the_metadata_is_known(world, shared_tmp_path, layout):
    """Anywhere in the first block of it, where HDF5 itself may not notice."""
    path = shared_tmp_path / "dataset.h5"
    create(path, world.comm, layout, ATTRIBUTES)
    content = path.read_bytes()
    assert Dataset(path).system == "base"
    damaged = shared_tmp_path / f"damaged-{world.rank}.h5"
    for at in range(world.rank, 2000, 97):
        changed = bytearray(content)
        changed[at] ^= 0x10
        damaged.write_bytes(changed)
        with pytest.raises(CaseError, match="metadata of this dataset is damaged"):
            Dataset(damaged)
