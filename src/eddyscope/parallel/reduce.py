"""Sums and maxima over ranks, element by element, for rooms that do not import MPI."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike

from eddyscope.config.arrays import AnyArray
from eddyscope.parallel.world import Comm

__all__ = ["gathered", "largest", "total"]


def largest(comm: Comm, values: ArrayLike) -> AnyArray:
    """The largest of each element on any rank, the same bits everywhere. Collective."""
    return _reduce(comm, values, MPI.MAX)


def total(comm: Comm, values: ArrayLike) -> AnyArray:
    """The sum of each element over the ranks. Collective.

    Its last bits depend on the number of ranks, unless all but one rank give zero: for
    sums that feed back into a run, put parts into their own places and add them in order.
    """
    return _reduce(comm, values, MPI.SUM)


def gathered(comm: Comm, rows: AnyArray) -> AnyArray:
    """The rows of all ranks below one another, in the order of the ranks. Collective.

    Each rank may have another number of them, of one width and type.
    """
    mine = np.ascontiguousarray(rows)
    counts = comm.allgather(mine.size)
    result = np.empty((sum(counts) // mine.shape[1], mine.shape[1]), mine.dtype)
    comm.Allgatherv(mine, (result, counts))
    return result


def _reduce(comm: Comm, values: ArrayLike, operation: MPI.Op) -> AnyArray:
    mine = np.asarray(values, order="C")
    result = np.empty_like(mine)
    comm.Allreduce(mine, result, op=operation)
    return result
