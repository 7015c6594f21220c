"""How many threads a rank computes with."""

from __future__ import annotations

import os
import socket

from eddyscope.parallel.world import World

__all__ = ["threads_of_a_rank"]


def threads_of_a_rank(world: World) -> int:
    """OMP_NUM_THREADS where it is set, else this rank's share of its node's cores. Collective."""
    chosen = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    cores = tuple(sorted(os.sched_getaffinity(0)))
    here = (socket.gethostname(), cores)
    everyone = world.comm.allgather(here)
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    # Ranks bound to cores of their own share with nobody.
    return max(1, len(cores) // everyone.count(here))
