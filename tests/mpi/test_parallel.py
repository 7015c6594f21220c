"""Communicators, meshes, dealt work and collective files, on whatever ranks there are."""

from __future__ import annotations

import time

import numpy as np
import pytest

from eddyscope.config.errors import CaseError
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


def test_what_one_rank_cannot_do_is_told_by_all(world):
    def refuse_the_last(i: int) -> int:
        if i == world.size - 1:
            raise CaseError("not this one")
        return i

    with pytest.raises(CaseError, match="not this one"):
        map_in_order(world, refuse_the_last, list(range(world.size)))


def test_reductions_go_element_by_element(world):
    mine = np.array([[world.rank, -world.rank]], dtype=float)
    np.testing.assert_array_equal(largest(world.comm, mine), [[world.size - 1, 0]])
    ranks = np.arange(world.size).sum()
    np.testing.assert_array_equal(total(world.comm, mine), [[ranks, -ranks]])
    assert float(total(world.comm, 1.0)) == world.size


def test_single_is_this_rank_alone(world):
    assert World.single().size == 1


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
