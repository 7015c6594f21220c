"""Communicators, meshes, dealt work and collective files, on whatever ranks there are."""

from __future__ import annotations

import time

import numpy as np
import pytest
import xarray as xr

from eddyscope.config.case import CaseError
from eddyscope.parallel import hdf5
from eddyscope.parallel.failure import agree, all_true, any_true
from eddyscope.parallel.reduce import largest, total
from eddyscope.parallel.torch_group import pick_device, process_group
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World, block

pytestmark = pytest.mark.mpi


def test_agreement(world):
    last = world.rank == world.size - 1
    assert any_true(world.comm, last)
    assert all_true(world.comm, last) == (world.size == 1)
    assert not any_true(world.comm, False)


def test_agree_gives_each_rank_its_own_result(world):
    assert agree(world.comm, lambda: world.rank) == world.rank


def test_an_error_on_root_is_raised_everywhere(world):
    def fails():
        raise CaseError("only root looked")

    with pytest.raises(CaseError, match="only root looked"):
        world.on_root(fails)
    assert world.on_root(lambda: world.rank) == 0


def test_split_makes_contiguous_groups(world):
    group, index = world.split(2)
    ranks = group.comm.allgather(world.rank)
    mine = block(world.size, min(2, world.size), index)
    assert ranks == list(range(mine.start, mine.stop))


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_mesh_covers_all_members_once(world, members):
    mesh = world.mesh(members=members, rows=12)
    assert mesh.shape[0] * mesh.shape[1] == world.size
    assert mesh.pencil_comm.size == mesh.shape[1]
    assert mesh.member_comm.size == mesh.shape[0]
    shared = mesh.pencil_comm.allgather(mesh.members)
    assert shared == [mesh.members] * mesh.shape[1]
    blocks = mesh.member_comm.allgather(mesh.members)
    assert [i for b in blocks for i in range(b.start, b.stop)] == list(range(members))


@pytest.mark.parametrize("count", [0, 1, 7])
def test_work_comes_back_in_order(world, count):
    items = list(range(count))
    assert map_in_order(world, lambda i: i * i, items) == [i * i for i in items]


def test_reductions_go_element_by_element(world):
    mine = np.array([[world.rank, -world.rank]], dtype=float)
    np.testing.assert_array_equal(largest(world.comm, mine), [[world.size - 1, 0]])
    ranks = np.arange(world.size).sum()
    np.testing.assert_array_equal(total(world.comm, mine), [[ranks, -ranks]])
    assert float(total(world.comm, 1.0)) == world.size


def test_single_is_this_rank_alone(world):
    assert World.single().size == 1


# --- HDF5 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_collective_write_with_ranks_that_have_nothing(world, shared_tmp_path, rows):
    """More ranks than rows is where the high-level call hangs."""
    path = shared_tmp_path / f"{rows}.h5"
    expected = np.arange(rows * 6, dtype="f4").reshape(rows, 6)
    mine = block(rows, world.size, world.rank)
    empty = mine.start == mine.stop
    variables = {
        "y": hdf5.Variable(("y",), np.arange(rows) / rows, units="rad", long_name="row"),
        "x": hdf5.Variable(("x",), np.arange(6) / 6, units="rad", long_name="column"),
        "omega": hdf5.Variable(("y", "x"), shape=(rows, 6), dtype="f4", long_name="vorticity"),
    }
    with hdf5.create_file(path, world.comm) as file:
        file.attrs["case"] = "{}"
        hdf5.allocate(file, variables)
        selection = None if empty else (mine, slice(None))
        hdf5.write_block(file["omega"], selection, None if empty else expected[mine])
    with xr.open_dataset(path, engine="h5netcdf") as read:
        assert read["omega"].dims == ("y", "x")
        assert read["omega"].attrs["long_name"] == "vorticity"
        np.testing.assert_array_equal(read["omega"], expected)
        np.testing.assert_array_equal(read["x"], np.arange(6) / 6)


def test_a_collective_file_appears_only_when_complete(world, shared_tmp_path, everywhere):
    path = shared_tmp_path / "a.h5"
    with hdf5.create_file(path, world.comm):
        everywhere(not path.exists(), "there before it is complete")
        world.comm.Barrier()
    everywhere(path.exists(), "not there")
    everywhere(not path.with_name("a.h5.tmp").exists(), "temporary file left")


def test_update_in_place(world, shared_tmp_path):
    path = shared_tmp_path / "a.h5"
    zeros = hdf5.Variable(("sample",), np.zeros(world.size))
    with hdf5.create_file(path, world.comm) as file:
        hdf5.allocate(file, {"committed": zeros})
    with hdf5.open_for_update(path, world.comm) as file:
        hdf5.write_block(file["committed"], (world.rank,), np.array([world.rank + 1.0]))
    with hdf5.open_to_read(path) as file:
        np.testing.assert_array_equal(file["committed"][...], np.arange(world.size) + 1.0)


def test_a_folder_that_cannot_be_is_a_case_error_everywhere(world, shared_tmp_path):
    (shared_tmp_path / "file").write_text("")
    world.comm.Barrier()
    with pytest.raises(CaseError, match="choose another folder with --out"):
        with hdf5.create_file(shared_tmp_path / "file" / "a.h5", world.comm):
            pass


# --- torch ---------------------------------------------------------------------------------


def test_torch_group_sums_over_the_ranks(world):
    torch = pytest.importorskip("torch")
    for _ in range(2):  # a second group in the same job must not trip over the first
        with process_group(world.comm, pick_device(world.comm)):
            value = torch.tensor([world.rank + 1.0])
            torch.distributed.all_reduce(value)
        assert value.item() == world.size * (world.size + 1) / 2


def test_ranks_leave_a_test_together(world):
    """The harness waits for slow ranks."""
    time.sleep(0.2 * (world.rank == 0))
