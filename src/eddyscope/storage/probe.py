"""Small trials of the machinery below us, for `eddyscope doctor`: MPI, HDF5, torch, cores.

mpirun -n 2 python -m eddyscope.storage.probe      # the trials that need ranks
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.distributed as dist
from mpi4py import MPI

from eddyscope.parallel.failure import guard
from eddyscope.parallel.processors import visible_gpus
from eddyscope.parallel.torch_group import pick_device, process_group
from eddyscope.parallel.world import World
from eddyscope.storage.drivers.mpio import has_parallel_hdf5
from eddyscope.storage.opening import open_to_read
from eddyscope.storage.shared_file import new_file
from eddyscope.storage.variables import Group, Variable

__all__ = ["SET_UP", "Check", "check_libraries", "check_ranks", "fail", "ok", "report", "warn"]

SET_UP = "run `bash jobs/local/setup.sh`"


@dataclass(frozen=True)
class Check:
    """One line of a diagnosis: a verdict (ok, warn or FAIL) and its words."""

    verdict: str
    words: str

    def __str__(self) -> str:
        return f"{self.verdict:<4} {self.words}"


def ok(words: str) -> Check:
    return Check("ok", words)


def warn(words: str, remedy: str) -> Check:
    return Check("warn", f"{words} — {remedy}")


def fail(words: str, remedy: str) -> Check:
    return Check("FAIL", f"{words} — {remedy}")


# --- Without other ranks -------------------------------------------------------------------


def check_libraries() -> list[Check]:
    """What this process has loaded: MPI, HDF5, torch."""
    return [_mpi_library(), _hdf5_library(), _one_mpi(), _torch_build(), _devices()]


def _mpi_library() -> Check:
    version = MPI.Get_library_version().split("\0")[0].splitlines()[0].strip().rstrip(",")
    return ok(
        f"mpi4py uses {version.split(', package')[0]} (MPI {'.'.join(map(str, MPI.Get_version()))})"
    )


def _hdf5_library() -> Check:
    library = f"h5py {h5py.version.version} uses HDF5 {h5py.version.hdf5_version}"
    if has_parallel_hdf5():
        return ok(f'{library} with MPI: storage.driver may be "direct" or "mpio"')
    return ok(f'{library} without MPI: storage.driver is "direct"')


def _one_mpi() -> Check:
    """Two MPIs in a process, as an h5py built with another one brings, hang or crash it."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return warn("cannot tell whether this process has one MPI", "needs Linux's /proc")
    found = re.findall(r"\S*/libmpi(?:ch|_cray|_gnu_\w+|_intel)?\.so\S*", maps.read_text())
    libraries = sorted(set(found))
    if len(libraries) == 1:
        return ok(f"one MPI, {libraries[0]}")
    if not libraries:
        return warn("no MPI library found in this process's memory map", "look at `ldd` of mpi4py")
    remedy = f"load one MPI only, then {SET_UP} after removing .venv"
    return fail(f"different MPIs in one process: {', '.join(libraries)}", remedy)


def _torch_build() -> Check:
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    words = f"torch {torch.__version__}, {build}"
    if torch.cuda.is_available():
        return ok(f"{words}, {torch.cuda.device_count()} GPU(s): {torch.cuda.get_device_name(0)}")
    if torch.version.cuda:
        return warn(
            f"{words}, but no GPU to be seen", "ask the scheduler for one, or see nvidia-smi"
        )
    return ok(words)


def _devices() -> Check:
    """What stages compute on, and GPUs that torch leaves idle."""
    gpus = len(visible_gpus())
    if gpus and not torch.cuda.is_available():
        return warn(
            f"{gpus} GPU(s) here that torch cannot use: all stages compute on CPUs",
            "install a torch with CUDA",
        )
    if torch.cuda.is_available():
        return ok(
            'train, transfer and transform.kind = "torch" compute on GPUs, one a rank; the '
            "default transform, evaluate, analyze and advise on CPUs"
        )
    return ok("no GPU here: all stages compute on CPUs")


# --- With other ranks ----------------------------------------------------------------------


def check_ranks(world: World) -> Iterator[Check]:
    """Trials on all ranks of `world`, each when it is done. Collective.

    What one rank alone raises is not caught here: the others are then inside a
    collective, and `failure.guard` ends them.
    """
    yield _cores(world)
    yield _pinning(world)
    yield _collective_write(world)
    yield _gradient_sum(world, torch.device("cpu"))
    if world.comm.allreduce(torch.cuda.is_available(), op=MPI.LAND):
        yield _gradient_sum(world, pick_device(world.comm))


def _cores(world: World) -> Check:
    """Ranks times threads against the cores of the busiest node."""
    node = world.comm.Split_type(MPI.COMM_TYPE_SHARED)
    # Ranks may be pinned apart: the cores of a node are those of all its ranks together.
    cores = len(set().union(*node.allgather(os.sched_getaffinity(0))))
    threads = torch.get_num_threads()
    wanted = node.allreduce(threads)
    ranks = node.size
    node.Free()
    # The node with the most work for each core speaks for all.
    busiest = max(world.comm.allgather((wanted / cores, ranks, threads, cores)))
    ratio, ranks, threads, cores = busiest
    setting = os.environ.get("OMP_NUM_THREADS")
    words = (
        f"{ranks} rank(s) x {threads} thread(s) on {cores} core(s) of a node "
        f"(OMP_NUM_THREADS={setting or 'unset'})"
    )
    if ratio <= 1:
        return ok(words)
    if threads > 1:
        return warn(f"{words}: too many", "export OMP_NUM_THREADS=1")
    return warn(f"{words}: too many", f"start at most {cores} ranks a node")


def _pinning(world: World) -> Check:
    node = world.comm.Split_type(MPI.COMM_TYPE_SHARED)
    affinities = node.allgather(frozenset(os.sched_getaffinity(0)))
    node.Free()
    # Too many ranks for all the cores is `_cores` finding; here cores are left idle.
    everything = os.cpu_count() or 1
    crowded = [a for a in set(affinities) if affinities.count(a) > len(a) and len(a) < everything]
    crowded_anywhere = world.comm.allreduce(bool(crowded), op=MPI.LOR)
    words = f"each rank may use {len(affinities[0])} core(s)"
    if not crowded_anywhere:
        return ok(f"{words}, with room for every rank")
    return warn(
        f"{words}, but ranks are pinned onto the same core",
        "mpirun --bind-to none, or srun --cpu-bind=cores with one core a rank",
    )


def _collective_write(world: World) -> Check:
    """Write a file on all ranks where the program was started, read it back on each."""
    folder = Path(world.on_root(lambda: tempfile.mkdtemp(prefix=".eddyscope-probe-", dir=".")))
    path = folder.absolute() / "probe.h5"
    rows = 3
    mine = slice(world.rank * rows, (world.rank + 1) * rows)
    expected = np.arange(world.size * rows * 8.0).reshape(-1, 8)
    try:
        x = Variable(("a", "b"), shape=expected.shape, dtype="f8")
        with new_file(path, world.comm, {"": Group({"x": x})}) as data:
            data.write([data.piece("x", (mine.start,), expected[mine])])
        with open_to_read(path) as file:
            same = np.array_equal(file["x"][...], expected)
        same = world.comm.allreduce(same, op=MPI.LAND)
    finally:
        if world.is_root:
            shutil.rmtree(folder, ignore_errors=True)
    where = Path.cwd()
    if same:
        return ok(f"{world.size} rank(s) wrote one HDF5 file together in {where} and read it back")
    return fail(
        f"{world.size} rank(s) wrote one HDF5 file in {where} and read back something else",
        "use another file system, or ask your site about MPI-IO on this one",
    )


def _gradient_sum(world: World, device: torch.device) -> Check:
    """The all-reduce that data-parallel training rests on."""
    with process_group(world.comm, device):
        backend = dist.get_backend()
        value = torch.full((1000,), world.rank + 1.0, device=device)
        dist.all_reduce(value)
        right = bool((value == world.size * (world.size + 1) / 2).all())
    words = f"torch all-reduce over {world.size} rank(s) on {device.type} ({backend})"
    if world.comm.allreduce(right, op=MPI.LAND):
        return ok(words)
    return fail(f"{words} gave a wrong sum", "set GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME")


def report(world: World, findings: Iterable[Check]) -> bool:
    """Print findings on rank 0 as they come; whether none is a FAIL. Collective."""
    healthy = True
    for finding in findings:
        world.say(finding)
        healthy = healthy and finding.verdict != "FAIL"
    return world.on_root(lambda: healthy)


if __name__ == "__main__":
    launched = World.launched()
    sys.exit(guard(lambda: int(not report(launched, check_ranks(launched)))))
