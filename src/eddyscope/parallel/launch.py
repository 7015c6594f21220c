"""Starting ranks from a process that was not itself started as one (doctor, benchmarks, tests)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache

from eddyscope.config.errors import CaseError

__all__ = ["cores_here", "launcher", "launch"]

KEPT = (
    "OMPI_MCA_btl", "OMPI_MCA_mtl", "OMPI_MCA_pml",
    "OMPI_MCA_hwloc_base_binding_policy", "PRTE_MCA_hwloc_default_binding_policy",
    "OMPI_MCA_mpi_yield_when_idle",
)  # fmt: skip
"""What a launcher is told by the environment and passes on: the network, whether to bind ranks to
cores, and whether ranks that wait leave theirs to others. Jobs beside one another that each bind
their first rank all share the first core."""

KILL_AFTER = 10.0
"""Seconds a launcher told to stop gets to clean up its ranks before it is killed."""


def cores_here() -> int:
    """How many cores this process may use: its affinity, not the machine's total."""
    return len(os.sched_getaffinity(0))


@cache
def launcher() -> str:
    """`srun` inside a Slurm allocation, else mpirun or mpiexec. CaseError if there is none."""
    in_slurm = "SLURM_JOB_ID" in os.environ
    for name in ("srun", "mpirun", "mpiexec") if in_slurm else ("mpirun", "mpiexec"):
        if shutil.which(name):
            return name
    raise CaseError(
        "no mpirun, mpiexec or srun in PATH; load your site's MPI module or install one"
    )


@cache
def _is_open_mpi(name: str) -> bool:
    if name == "srun":
        return False
    version = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
    return "Open MPI" in version.stdout


def launch(
    ranks: int,
    command: Sequence[str],
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command` on `ranks` ranks and give its exit status and words.

    Raises subprocess.TimeoutExpired after `timeout` seconds, with no rank left behind,
    and CaseError if there is no launcher. Not collective: call it on one process.
    """
    name = launcher()
    flags = [name, "-n", str(ranks)]
    # What this process itself was told by a launcher, or by its own MPI_Init, must not
    # reach the new ranks: they would try to join this job.
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OMPI_", "PMIX_", "PMI_", "PRTE_", "ORTE_")) or key.startswith(KEPT)
    }
    if _is_open_mpi(name):
        if ranks > cores_here():
            flags += ["--oversubscribe", "--bind-to", "none"]
        if os.getuid() == 0:
            inherited |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    process = subprocess.Popen(
        [*flags, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, **(environment or {})},
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        process.terminate()  # the launcher ends its ranks; killing it could leave them
        try:
            process.wait(KILL_AFTER)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
