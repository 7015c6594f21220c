"""How much memory this process takes, and whether a machine has enough."""

from __future__ import annotations

import os
import resource
import sys

from mpi4py import MPI

from eddyscope.config.errors import CaseError
from eddyscope.parallel.reduce import largest

__all__ = ["require_device_memory", "require_memory", "resident"]


def resident() -> int:
    """Bytes of main memory that this process has taken so far, at the most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def installed() -> int:
    """Bytes of main memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def require_memory(comm: MPI.Intracomm, name: str, a_rank: float) -> None:
    """Raise CaseError, on all ranks together, where the ranks on a machine need more memory than
    it has. Collective.

    name: of what needs it; a_rank: the bytes that a rank needs at the most.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    here = node.size
    node.Free()
    ranks, needed, negative = largest(comm, [float(here), a_rank, -float(installed())])
    if ranks * needed > -negative:
        raise CaseError(
            f"{name} needs {needed / 2**20:.0f} MiB a rank, with {ranks:.0f} rank(s) on a machine "
            f"of {-negative / 2**20:.0f} MiB; use more machines, or a smaller grid.n"
        )


def require_device_memory(
    comm: MPI.Intracomm, name: str, a_rank: float, available: float | None = None
) -> None:
    """Raise CaseError, on all ranks together, where a rank's part does not fit on its GPU.
    Collective.

    name: of what needs it; a_rank: the bytes of it that a rank needs at the most, 0 on CPUs;
    available: those that it has, by default what torch says is free.
    """
    needed = largest(comm, a_rank)
    if not needed:
        return
    if available is None:
        from eddyscope.parallel.torch_group import free_memory

        available = free_memory(comm)
    least = -largest(comm, -available)
    if needed > least:
        raise CaseError(
            f"{name} needs {needed / 2**20:.0f} MiB of a GPU for a rank's members, but there are "
            f"{least / 2**20:.0f} MiB; use more ranks with a GPU each, a smaller grid.n, or "
            'transform.device = "cpu"'
        )
