"""How much memory this process takes, and whether a machine has enough."""

from __future__ import annotations

import math
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from mpi4py import MPI

from eddyscope.config.errors import CaseError
from eddyscope.parallel.reduce import largest

__all__ = ["require_device_memory", "require_memory", "resident", "shareable"]

SHARED = Path("/dev/shm")
"""Where Linux keeps memory that processes share; MPI does not end well where it is full."""


def resident() -> int:
    """Bytes of main memory that this process has taken so far, at the most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def installed() -> float:
    """Bytes of main memory of this machine, or those of them that a scheduler or a container leaves
    to this process."""
    return min(_allowed(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _allowed(listed: Path = Path("/proc/self/cgroup"), mounted: str = "/sys/fs/cgroup") -> float:
    """Bytes that the control groups of Linux allow this process, which are those of the group
    and of all around it; infinite where there are none."""
    least = math.inf
    for line in listed.read_text().splitlines() if listed.is_file() else []:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root = Path(mounted, "memory") if kinds else Path(mounted)
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            for name in ("memory.max", "memory.limit_in_bytes"):
                with suppress(OSError, ValueError):  # not there, or "max"
                    least = min(least, int((folder / name).read_text()))
    return least


def shareable(comm: MPI.Intracomm, wanted: float | None = None) -> float:
    """Bytes of main memory that the ranks on a machine may share, on the machine with the least of
    them: those that are wanted, by default half of what there is, but no more than is free where
    memory is shared. Collective."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    mine = installed() / 2 if wanted is None else wanted
    if node.size > 1 and SHARED.is_dir():
        space = os.statvfs(SHARED)
        mine = min(mine, space.f_bavail * space.f_frsize)
    node.Free()
    return -float(largest(comm, -mine))


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
