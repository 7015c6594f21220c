"""How much memory this process takes, and whether a machine has enough."""

from __future__ import annotations

import os
import resource
import sys

from mpi4py import MPI

from eddyscope.config.errors import CaseError
from eddyscope.parallel.reduce import largest

__all__ = ["require_memory", "resident"]


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
