"""Small artefacts: the same bytes each time, whole or not at all, and no damage unnoticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import CannotWrite
from eddyscope.storage.small import read_tree, write_tree

ATTRIBUTES = {"format": "example 1", "case": "{}", "seed": 3, "calm": True, "sizes": [64, 128]}


def groups() -> dict[str, xr.Dataset]:
    layers = xr.Dataset(
        {
            "values": (("score", "layer"), np.arange(6.0).reshape(2, 3), {"units": "1/s"}),
            "stable": ("layer", np.array([True, False, True])),
            "count": ((), 4),
            "unknown": ("layer", np.full(3, np.nan)),
        },
        coords={"score": ["ridge", "größte"], "layer": ["l01", "l02", "l03"]},
        attrs={"trained": True},
    )
    return {"": layers, "gains/l02": xr.Dataset({"gain": ("k", np.arange(3, dtype="f4"))})}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "folder" / "advice.h5"
    write_tree(path, groups(), ATTRIBUTES)
    return path


def test_what_is_written_is_read(written):
    tree = read_tree(written, "advice")
    assert tree.attrs["format"] == "example 1" and tree.attrs["seed"] == 3
    assert tree.attrs["calm"] == 1 and list(tree.attrs["sizes"]) == [64, 128]
    for name, expected in groups().items():
        found = tree[f"/{name}"].to_dataset(inherit=False)
        xr.testing.assert_equal(found, expected)
    assert tree["values"].attrs["units"] == "1/s"
    assert tree["gains/l02/gain"].attrs["units"] == "1"
    assert tree["gains/l02/gain"].dtype == "f4"
    assert tree.dataset["stable"].dtype == bool


def test_plain_xarray_opens_it(written):
    with xr.open_dataset(written, group="gains/l02", engine="h5netcdf") as found:
        np.testing.assert_array_equal(found["gain"], np.arange(3))
    with xr.open_dataset(written) as found:
        assert found["score"].values.tolist() == ["ridge", "größte"]


def test_another_process_at_another_time_gives_the_same_bytes(written, tmp_path):
    here = Path(__file__).parents[1]
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(here)!r});"
        "from unit.test_small_artefacts import *;"
        f"write_tree(pathlib.Path({str(tmp_path / 'b.h5')!r}), groups(), ATTRIBUTES)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=here)
    assert (tmp_path / "b.h5").read_bytes() == written.read_bytes()


def test_what_the_caller_gave_is_left_as_it_was(tmp_path):
    given = groups()
    write_tree(tmp_path / "a.h5", given, ATTRIBUTES)
    assert given[""]["count"].attrs == {} and given[""].attrs == {"trained": True}


def test_any_flipped_bit_is_noticed(written):
    content = written.read_bytes()
    places = [*range(0, len(content), 53), *range(len(content) - 140, len(content))]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        written.write_bytes(changed)
        with pytest.raises(CaseError, match=r"advice\.h5: .*make it again"):
            read_tree(written, "advice")


@pytest.mark.parametrize("left", [0, 1, 20, 4000, -1])
def test_a_file_cut_short_is_noticed(written, left):
    written.write_bytes(written.read_bytes()[:left])
    with pytest.raises(CaseError, match="make it again"):
        read_tree(written, "advice")


def test_what_is_no_such_artefact_is_said_in_one_line(tmp_path):
    xr.Dataset({"a": 1.0}).to_netcdf(tmp_path / "foreign.h5", engine="h5netcdf")
    os.mkfifo(tmp_path / "fifo")
    words = {
        "missing.h5": "no such advice",
        "foreign.h5": "not advice of this program",
        "": "is a folder",
        "fifo": "not a file",
    }
    for name, text in words.items():
        with pytest.raises(CaseError, match=text):
            read_tree(tmp_path / name, "advice")


def test_where_nothing_can_be_written_nothing_is_left(tmp_path, monkeypatch):
    path = tmp_path / "advice.h5"
    path.write_text("the one before")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match="cannot be written"):
        write_tree(path, groups(), ATTRIBUTES)
    assert [p.name for p in tmp_path.iterdir()] == ["advice.h5"]
    assert path.read_text() == "the one before"
