"""Rows of numbers that all ranks see, one copy a machine: shared memory of MPI-3.

with shared_rows(world.comm, (count, 3, 64, 64)) as (rows, spread):
    rows[mine] = …                  # each rank some of them
    spread(lambda rank: …)          # which those were; then all ranks see all rows
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from eddyscope.parallel.failure import TOGETHER
from eddyscope.parallel.world import Comm

__all__ = ["shared_rows"]

Rows = NDArray[np.float32]

Written = Callable[[int], Sequence[int]]
"""Called with a rank: the rows that it has written."""

SENT = 2**26
"""Bytes that go from one machine to the others at a time."""


@contextmanager
def shared_rows(
    comm: Comm, shape: tuple[int, ...], machine: Comm | None = None
) -> Iterator[tuple[Rows, Callable[[Written], None]]]:
    """An array of this shape, and what tells all machines what the ranks have written to it. Both
    are of no use after the block. Collective, leaving it too, unless by an error that one rank may
    have alone: then the job ends, and the memory with it.

    machine: the ranks that share a copy, which is freed too; by default those on this machine.
    """
    node = cast(Comm, comm.Split_type(MPI.COMM_TYPE_SHARED)) if machine is None else machine
    leaders = cast(Comm, comm.Split(0 if node.rank == 0 else MPI.UNDEFINED, comm.rank))
    place = node.bcast(leaders.rank if node.rank == 0 else None)
    machines = comm.allgather(place)
    rows, window = _allocated(node, shape)

    def spread(written: Written) -> None:
        """Collective."""
        if window is not None:
            window.Fence()
        if node.rank == 0 and leaders.size > 1:
            for rank, owner in enumerate(machines):
                _send(leaders, rows, written(rank), owner)
        if window is not None:
            window.Fence()

    try:
        yield rows, spread
    except TOGETHER:
        _free(window, node, leaders)
        raise
    _free(window, node, leaders)


def _allocated(node: Comm, shape: tuple[int, ...]) -> tuple[Rows, MPI.Win | None]:
    """The rows of this machine, and the window that they lie in; one rank needs none."""
    if node.size == 1:
        return np.empty(shape, np.float32), None
    size = 4 * int(np.prod(shape)) if node.rank == 0 else 0
    window = MPI.Win.Allocate_shared(size, 4, comm=node)
    window.Fence()
    buffer, _ = window.Shared_query(0)
    return np.frombuffer(buffer, np.float32).reshape(shape), window  # type: ignore[call-overload]


def _send(leaders: Comm, rows: Rows, chosen: Sequence[int], owner: int) -> None:
    """Rows from the machine that has them to all others. Collective over one rank of each."""
    step = max(1, SENT // (4 * int(np.prod(rows.shape[1:]))))
    for start in range(0, len(chosen), step):
        part = list(chosen[start : start + step])
        block = rows[part]
        leaders.Bcast(block, root=owner)
        if leaders.rank != owner:
            rows[part] = block


def _free(window: MPI.Win | None, node: Comm, leaders: Comm) -> None:
    if window is not None:
        window.Free()
    node.Free()
    if leaders != MPI.COMM_NULL:
        leaders.Free()
