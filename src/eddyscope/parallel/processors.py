"""What computes: cores and GPUs of the ranks' nodes, in words. Needs no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI

from eddyscope.parallel.threads import threads_of_a_rank
from eddyscope.parallel.world import World

__all__ = ["Computing", "visible_gpus", "words"]

DEVICES = Path("/dev")
"""Where NVIDIA's driver names its GPUs: nvidia0, nvidia1, …"""


def no_gpu() -> bool:
    return False


@dataclass(frozen=True)
class Computing:
    """How some work computes."""

    precision: str
    """Of its numbers, as in "float64"."""
    uses_gpu: Callable[[], bool] = no_gpu
    """Whether each rank computes on a GPU of its node. Not collective; may import torch."""
    instead: str = "this work is done by CPUs alone"
    """Why it does not, or what to change so that it does."""


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES or the driver has them.
    Not collective."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        try:
            names = sorted(path.name for path in DEVICES.iterdir())
        except OSError:
            return []
        return [name[len("nvidia") :] for name in names if re.fullmatch(r"nvidia\d+", name)]
    visible = []
    for name in map(str.strip, chosen.split(",")):
        if name in ("", "-1"):
            break  # what comes after it cannot be used, says CUDA
        visible.append(name)
    return visible


def words(world: World, computing: Computing) -> list[str]:
    """What computes, and a warning of GPUs that are left idle; a line each. Collective."""
    threads = max(world.comm.allgather(threads_of_a_rank(world)))
    at_work, there = _gpus_of_nodes(world, computing.uses_gpu())
    ranks, cores = f"{world.size} rank(s)", f"{threads} thread(s) each"
    if at_work:
        lines = [f"computes on {at_work} GPU(s), {ranks}, {computing.precision}"]
        if at_work < world.size:
            lines.append(
                f"warning: {ranks} share {at_work} GPU(s), which is slow; start one rank a GPU"
            )
    else:
        lines = [f"computes on CPUs, {ranks}, {cores}, {computing.precision}"]
    if idle := there - at_work:
        why = f"start {there} ranks to use all" if at_work else computing.instead
        lines.append(f"warning: {idle} of {there} GPU(s) of these nodes are left idle: {why}")
    return lines


def _gpus_of_nodes(world: World, uses: bool) -> tuple[int, int]:
    """GPUs of all nodes that are at work, and those that are there. Collective.

    A node's ranks take its GPUs in turn; a launcher may have shown each rank others.
    """
    node = world.comm.Split_type(MPI.COMM_TYPE_SHARED)
    visible = visible_gpus()
    mine = visible[node.rank % len(visible)] if uses and visible else ""
    everyone = node.allgather((mine, visible))
    at_work = {name for name, _ in everyone if name}
    there = {name for _, names in everyone for name in names}
    is_first = node.rank == 0
    node.Free()
    counts = world.comm.allgather((len(at_work), len(there)) if is_first else (0, 0))
    return sum(count[0] for count in counts), sum(count[1] for count in counts)
