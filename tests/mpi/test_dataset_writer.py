"""Raw data overwritten by MPI-IO, and the dataset's writer that stands on it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset import writer as writing
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.writer import DatasetWriter, Layout, create
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import CannotWrite, NotFinite
from eddyscope.parallel.world import World, block
from eddyscope.storage import raw_data
from eddyscope.storage.layout import Variable, allocate
from eddyscope.storage.opening import open_to_read
from eddyscope.storage.raw_data import Piece, RawData, lay_out, new_file
from eddyscope.storage.seal import is_sealed

pytestmark = pytest.mark.mpi

SAMPLES = 5


# --- Raw data ------------------------------------------------------------------------------


def lay_out_two(world: World, path: Path, shape: tuple[int, ...]) -> None:
    """A file with arrays "a" and "g/b" of doubles, not written yet. Collective."""

    def build(file: h5py.File) -> None:
        allocate(file, {"a": Variable((), shape=shape, dtype="f8")})
        allocate(file.create_group("g"), {"b": Variable((), shape=shape, dtype="f4")})

    lay_out(path, world.comm, build)


def write(world: World, path: Path, expected: np.ndarray) -> None:
    """The rows of both arrays, dealt to the ranks in turn. Collective."""
    data = RawData(path, world.comm)
    mine = range(world.rank, len(expected), world.size)
    data.write([data.piece(name, (i,), expected[i]) for i in mine for name in ("a", "g/b")])
    data.sync()
    data.close()


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
@pytest.mark.parametrize(("small", "most"), [(raw_data.SMALL, raw_data.MOST), (60, 40)])
def test_every_piece_finds_its_place(world, shared_tmp_path, monkeypatch, rows, small, most):
    """With fewer rows than ranks too; sent to rank 0, or written by their own rank in parts."""
    monkeypatch.setattr(raw_data, "SMALL", small)
    monkeypatch.setattr(raw_data, "MOST", most)
    expected = np.random.default_rng(0).standard_normal((rows, 3, 4))
    path = shared_tmp_path / "a.h5"
    lay_out_two(world, path, expected.shape)
    write(world, path, expected)
    with open_to_read(path) as file:
        np.testing.assert_array_equal(file["a"], expected)
        np.testing.assert_array_equal(file["g/b"], expected.astype("f4"))
    assert is_sealed(path)


def test_a_new_file_appears_only_when_complete_and_opens_in_xarray(
    world, shared_tmp_path, everywhere
):
    path = shared_tmp_path / "a.h5"
    variables = {
        "y": Variable(("y",), np.arange(5) / 5, units="rad", long_name="row"),
        "x": Variable(("x",), np.arange(6) / 6, units="rad", long_name="column"),
        "omega": Variable(("y", "x"), shape=(5, 6), dtype="f4", long_name="vorticity"),
    }
    expected = np.arange(30, dtype="f4").reshape(5, 6)
    mine = block(5, world.size, world.rank)
    with new_file(path, world.comm, lambda file: allocate(file, variables)) as data:
        everywhere(not path.exists(), "there before it is complete")
        world.comm.Barrier()
        if mine.start < mine.stop:
            data.write([data.piece("omega", (mine.start,), expected[mine])])
        else:
            data.write([])
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
        with new_file(shared_tmp_path / "file" / "a.h5", world.comm, lambda file: None):
            pass


def test_a_place_beyond_four_gigabytes(world, shared_tmp_path):
    path = shared_tmp_path / "far.h5"
    far = 5 * 2**30
    if world.is_root:
        with open(path, "wb") as file:  # nearly all of it a hole, that takes no room
            file.truncate(far)
    world.comm.Barrier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_data, "_places", lambda path: {})
        data = RawData(path, world.comm)
    mine = np.full(3, world.rank + 1, "u1")
    data.write([Piece(far + 3 * world.rank, mine), Piece(3 * world.rank, mine)])
    data.close()
    world.comm.Barrier()
    with open(path, "rb") as file:
        for start in (0, far):
            file.seek(start)
            found = np.frombuffer(file.read(3 * world.size), "u1")
            np.testing.assert_array_equal(found, np.repeat(np.arange(world.size) + 1, 3))


def test_a_block_may_go_on_along_the_last_axis_indexed_but_no_further(world, shared_tmp_path):
    path = shared_tmp_path / "a.h5"
    lay_out_two(world, path, (2, 5, 3))
    data = RawData(path, world.comm)
    begin = data.places["a"].offset
    assert data.piece("a", (1, 2), np.zeros((3, 3))).offset == begin + 8 * (5 * 3 + 2 * 3)
    assert data.piece("a", (1,), np.zeros((5, 3))).data.size == 8 * 15
    with pytest.raises(ValueError, match="do not fit"):
        data.piece("a", (0, 2), np.zeros((4, 3)))
    data.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("size", [8, raw_data.SMALL])
def test_a_full_disk_is_one_error_on_all_ranks(world, monkeypatch, size):
    """The last rank alone has something to write."""
    monkeypatch.setattr(raw_data, "_places", lambda path: {})
    data = RawData(Path("/dev/full"), world.comm)
    last = world.rank == world.size - 1
    with pytest.raises(CannotWrite, match="/dev/full: cannot be written"):
        data.write([Piece(0, np.ones(size, "u1"))] if last else [])
    data.close()


def test_a_file_that_may_not_be_opened_is_one_error_on_all_ranks(world, shared_tmp_path):
    path = shared_tmp_path / "a.h5"
    lay_out_two(world, path, (2, 2))
    world.comm.Barrier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_data, "_places", lambda path: {})
        with pytest.raises(CannotWrite, match="cannot be written"):
            RawData(shared_tmp_path, world.comm)  # a folder


# --- The dataset's writer ------------------------------------------------------------------


@pytest.fixture
def layout() -> Layout:
    grids = {4: 0.5, 6: 0.3}
    return Layout(3, tuple(range(SAMPLES)), (0.0, 1.0), 7, grids, full=8)


def sample_of(layout: Layout, members: range, sample: int):
    """Fields, spectra and full fields of one sample, told apart by member, sample and name."""

    def field(n: int, m: int, name: str) -> np.ndarray:
        return np.random.default_rng([n, m, sample, len(name)]).standard_normal((n, n))

    fields = {
        n: {m: {v: field(n, m, v) for v in schema.VARIABLES} for m in members} for n in layout.grids
    }
    spectra = {m: {v: np.full(7, m + 10.0 * sample) for v in schema.SPECTRA} for m in members}
    return fields, spectra, {m: field(8, m, "full") for m in members}


def members_of(world: World, layout: Layout) -> range:
    mine = block(layout.members, world.size, world.rank)
    return range(mine.start, mine.stop)


def opened(world: World, path: Path, layout: Layout):
    return DatasetWriter.opened(path, layout, world.comm, members_of(world, layout))


@pytest.mark.parametrize("at_once", [1, 2, 99])
def test_what_is_given_is_what_is_read(world, shared_tmp_path, monkeypatch, layout, at_once):
    """Whether samples wait for each other or not; with ranks that own no member."""
    most = -(-layout.members // world.size)
    monkeypatch.setattr(writing, "WAITING", at_once * most * layout.member_bytes())
    path, mine = shared_tmp_path / "dataset.h5", members_of(world, layout)
    create(path, world.comm, layout, {"case": "{}", "system": "base"})
    with opened(world, path, layout) as writer:
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
        with open_to_read(path) as file:
            expected = np.array([full[m] for m in range(layout.members)]).astype("f4")
            np.testing.assert_array_equal(file["full/omega"][:, s], expected)


def test_a_sample_is_committed_only_once_it_is_written(world, shared_tmp_path, everywhere, layout):
    path, mine = shared_tmp_path / "dataset.h5", members_of(world, layout)
    create(path, world.comm, layout, {"case": "{}", "system": "base"})

    def committed() -> list[bool]:
        world.comm.Barrier()
        found = Dataset(path).committed
        everywhere(bool(np.all(found == found[0])), "members differ")
        return [bool(mark) for mark in found[0]]

    with opened(world, path, layout) as writer:
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


def test_what_is_not_finite_is_refused_by_all_ranks_and_not_kept(world, shared_tmp_path, layout):
    """Of one rank's fields; in the dataset's precision, so 1e300 will not do either."""
    path, mine = shared_tmp_path / "dataset.h5", members_of(world, layout)
    create(path, world.comm, layout, {"case": "{}", "system": "base"})
    with opened(world, path, layout) as writer:
        writer.add_sample(0, *sample_of(layout, mine, 0))
        for bad in (np.nan, np.inf, 1e300):
            fields, spectra, full = sample_of(layout, mine, 1)
            if 1 in mine:
                fields[6][1]["pi"][2, 3] = bad
            with pytest.raises(NotFinite, match="sample 1 are not finite in float32"):
                writer.add_sample(1, fields, spectra, full)
    world.comm.Barrier()
    assert Dataset(path).committed.tolist() == [[True] + [False] * 4] * 3


def test_a_damaged_byte_of_the_metadata_is_known(world, shared_tmp_path, layout):
    """Anywhere in the first block of it, where HDF5 itself may not notice."""
    path = shared_tmp_path / "dataset.h5"
    create(path, world.comm, layout, {"case": "{}", "system": "base"})
    content = path.read_bytes()
    assert Dataset(path).system == "base"
    damaged = shared_tmp_path / f"damaged-{world.rank}.h5"
    for at in range(world.rank, 2000, 97):
        changed = bytearray(content)
        changed[at] ^= 0x10
        damaged.write_bytes(changed)
        with pytest.raises(CaseError, match="metadata of this dataset is damaged"):
            Dataset(damaged)
