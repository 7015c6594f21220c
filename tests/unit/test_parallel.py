"""Sharing out ranks, rows and items; damaged files. The collective half is in tests/mpi."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from eddyscope.config.errors import CaseError
from eddyscope.parallel.progress import duration
from eddyscope.parallel.work import deal
from eddyscope.parallel.world import block, check_mesh, choose_mesh
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.image import Image
from eddyscope.storage.opening import open_to_read
from eddyscope.storage.variables import Group, Variable


@pytest.mark.parametrize("total", [0, 1, 5, 12])
@pytest.mark.parametrize("parts", [1, 3, 5, 7])
def test_blocks_cover_everything_once_and_evenly(total, parts):
    blocks = [block(total, parts, index) for index in range(parts)]
    assert [i for b in blocks for i in range(b.start, b.stop)] == list(range(total))
    sizes = [b.stop - b.start for b in blocks]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("ranks", "members", "rows", "mesh"),
    [
        (1, 1, 64, (1, 1)),
        (4, 1, 64, (1, 4)),  # one member: only its rows are left to split
        (4, 4, 64, (4, 1)),  # a member each needs no communication
        (4, 2, 64, (2, 2)),
        (6, 3, 64, (3, 2)),
        (3, 2, 64, (1, 3)),  # two members do not divide three ranks
        (4, 6, 64, (2, 2)),  # 3 members x 32 rows beats 2 members x 64 rows
    ],
)
def test_mesh_gives_the_busiest_rank_least(ranks, members, rows, mesh):
    assert choose_mesh(ranks, members, rows) == mesh


def test_mesh_that_cannot_be_says_what_can():
    with pytest.raises(CaseError, match=r"7 ranks do not fit 2 member.*of 4 rows"):
        choose_mesh(7, 2, 4)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((2, 2), "needs 4 ranks, but 6"), ((6, 1), "at most 4"), ((1, 6), "at most 5")],
)
def test_given_mesh_is_checked(shape, words):
    with pytest.raises(CaseError, match=words):
        check_mesh(shape, 6, members=4, rows=5)


def test_items_are_dealt_once():
    hands = [deal("abcdefg", 3, index) for index in range(3)]
    assert hands == [["a", "d", "g"], ["b", "e"], ["c", "f"]]


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.6, "8 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_said_as_people_do(seconds, words):
    assert duration(seconds) == words


# --- Files ---------------------------------------------------------------------------------


def write_sample(path):
    x = Variable(("x",), np.linspace(0, 1, 5), units="m", long_name="place")
    energy = Variable(("time", "x"), np.arange(10.0).reshape(2, 5), long_name="energy")
    name = Variable(("time",), ["first", "second"])
    time = Variable(("time",), np.array([0.5, 1.0]))
    root = Group({"time": time, "name": name}, {"case": "{}", "seed": 3})
    Image({"": root, "line": Group({"x": x, "energy": energy})}).save(path)


def test_a_laid_out_file_opens_in_xarray(tmp_path):
    path = tmp_path / "a.h5"
    write_sample(path)
    root = xr.open_dataset(path, engine="h5netcdf")
    line = xr.open_dataset(path, engine="h5netcdf", group="line")
    assert root.attrs["seed"] == 3
    assert list(root["name"].values) == ["first", "second"]
    assert line["energy"].dims == ("time", "x")
    assert line["x"].attrs["units"] == "m"
    assert line["energy"].attrs["long_name"] == "energy"
    np.testing.assert_array_equal(line["energy"], np.arange(10.0).reshape(2, 5))


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_file_cut_short_is_a_case_error(tmp_path, keep):
    path = tmp_path / "a.h5"
    write_sample(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(CaseError, match=r"not a readable dataset.*make it again"):
        with open_to_read(path, "dataset"):
            pass


def test_a_missing_file_is_a_case_error(tmp_path):
    with pytest.raises(CaseError, match="no such dataset"):
        with open_to_read(tmp_path / "none.h5", "dataset"):
            pass


def test_content_is_replaced_whole(tmp_path):
    path = tmp_path / "folder" / "status.json"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["status.json"]
