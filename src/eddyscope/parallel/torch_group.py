"""A torch.distributed process group made from an MPI communicator.

Rank 0 opens a TCP store on a free port and broadcasts where it is, so there are no
launcher variables to set, no port to clash and no rendezvous file to leave behind.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from mpi4py import MPI

from eddyscope.parallel.threads import threads_of_a_rank
from eddyscope.parallel.world import Comm, World

__all__ = ["finds_gpu", "free_memory", "pick_device", "process_group", "settle_device"]

TIMEOUT = timedelta(minutes=10)
"""How long a rank waits for the others before it fails."""


def pick_device(comm: Comm) -> torch.device:
    """The GPU of this rank by its place on its node, else the CPU. Collective."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    local_rank = node.rank
    node.Free()
    return torch.device("cuda", local_rank % torch.cuda.device_count())


def finds_gpu() -> bool:
    """Whether torch can compute on a GPU here. Not collective."""
    return torch.cuda.is_available()


def free_memory(comm: Comm) -> float:
    """Bytes that are free for this rank on its GPU, which the ranks that share it share alike.
    Collective."""
    device = pick_device(comm)
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    sharing = -(-node.size // torch.cuda.device_count())
    node.Free()
    free: int = torch.cuda.mem_get_info(device)[0]
    return free / sharing


def settle_device(comm: Comm, wants_gpu: bool = True) -> None:
    """Make this rank's GPU torch's current one, where there are any, and give torch its share of
    the node's cores. Collective over all ranks of the program."""
    torch.set_num_threads(threads_of_a_rank(World(comm)))
    if wants_gpu and (device := pick_device(comm)).type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = False  # closures in float32, as on a CPU


@contextmanager
def process_group(comm: Comm, device: torch.device) -> Iterator[None]:
    """Make `comm` torch's default process group for the time of a `with` block. Collective.

    NCCL on GPUs (one rank each), gloo on CPUs. If the ranks of a node outnumber its GPUs,
    gloo carries the gradients, since NCCL refuses to share a GPU.
    """
    shared = _device_is_shared(comm, device)
    backend = "nccl" if device.type == "cuda" and not shared else "gloo"
    store = _store(comm)
    dist.init_process_group(
        backend,
        store=store,
        rank=comm.rank,
        world_size=comm.size,
        timeout=TIMEOUT,
        device_id=device if backend == "nccl" else None,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()
    # The store lives on rank 0: nobody may still be talking to it when it goes.
    # (Not in `finally`: a failing rank must not wait for the others.)
    comm.Barrier()


def _store(comm: Comm) -> dist.Store:
    if comm.size == 1:
        return dist.HashStore()
    one_node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    on_one_node = comm.allreduce(one_node.size == comm.size, op=MPI.LAND)
    one_node.Free()
    host = "127.0.0.1" if on_one_node else _reachable_name()
    store = None
    address = None
    if comm.rank == 0:
        store = dist.TCPStore(
            host, 0, comm.size, is_master=True, wait_for_workers=False, timeout=TIMEOUT
        )
        address = (host, store.port)
    address = comm.bcast(address)
    if store is None:
        assert address is not None
        host, port = address
        store = dist.TCPStore(host, port, comm.size, is_master=False, timeout=TIMEOUT)
    return store


def _reachable_name() -> str:
    """This node's address as other nodes see it; many sites map the host name to loopback."""
    chosen = os.environ.get("EDDYSCOPE_HOST")
    if chosen:
        return chosen
    address = socket.gethostbyname(socket.gethostname())
    if not address.startswith("127."):
        return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # No packet is sent: connecting a datagram socket only selects the interface.
        probe.connect(("10.255.255.255", 1))
        return str(probe.getsockname()[0])


def _device_is_shared(comm: Comm, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    shared = node.size > torch.cuda.device_count()
    node.Free()
    return bool(comm.allreduce(shared, op=MPI.LOR))
