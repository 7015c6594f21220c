"""torch's threads and determinism, set before anything is computed."""

from __future__ import annotations

import os

import torch

from eddyscope.parallel.threads import threads_of_a_rank
from eddyscope.parallel.world import World

__all__ = ["configure_torch"]


def configure_torch(world: World) -> int:
    """Deterministic algorithms, full float32 products, and a fair share of the cores. Collective.

    OMP_NUM_THREADS decides the threads where it is set; else a node's cores are shared out
    to the ranks that may run on them. Gives the threads of a rank, the most of any: sums
    over parts that threads share out end with other bits on another number of them.
    """
    # cuBLAS reads it when it is first used; without it some products differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    threads = threads_of_a_rank(world)
    torch.set_num_threads(threads)
    return int(max(world.comm.allgather(threads)))
