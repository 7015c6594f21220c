"""How fast is a dataset written, against plain MPI-IO of the same bytes?

    python jobs/bench/output.py --ranks 1 2 --json jobs/results/output.json

In one process, in turn: samples written by the dataset's writer (fields, checksums, spectra,
synced, marked committed), and the same fields' bytes written by one collective MPI-IO call
and one sync a sample, to a file beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    arguments = parse()
    if arguments.worker:
        work(json.loads(arguments.worker))
        return
    from eddyscope.parallel.launch import launch

    records = []
    print(f"{'ranks':>5} {'MiB/sample':>10} {'dataset MB/s':>13} {'MPI-IO MB/s':>12} {'ratio':>6}")
    for ranks in arguments.ranks:
        configuration = {**vars(arguments), "ranks": ranks}
        command = [sys.executable, __file__, "--worker", json.dumps(configuration)]
        done = launch(ranks, command, 900, {"OMP_NUM_THREADS": "1"})
        if done.returncode:
            sys.exit(f"benchmark failed on {ranks} rank(s):\n{done.stderr}")
        record = json.loads(done.stdout.splitlines()[-1])
        records.append(record)
        print(
            f"{ranks:>5} {record['bytes'] / 2**20:>10.1f} {record['dataset_mb_per_second']:>13.0f} "
            f"{record['mpi_io_mb_per_second']:>12.0f} {record['ratio']:>6.2f}",
            flush=True,
        )
    if arguments.json:
        text = {"command": " ".join(["python", *sys.argv]), "records": records}
        Path(arguments.json).write_text(json.dumps(text, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--grids", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--scratch", help="folder to write to (default: a temporary one)")
    parser.add_argument("--json", help="file for the raw figures")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def work(configuration: dict[str, Any]) -> None:
    """Write both ways, sample by sample in turn; rank 0 prints the record."""
    from mpi4py import MPI

    from eddyscope.dataset import schema
    from eddyscope.dataset.writer import DatasetWriter, Layout, create
    from eddyscope.parallel.world import World, block

    world = World.launched()
    members, samples = configuration["members"], configuration["samples"]
    layout = Layout(
        members, tuple(range(samples)), (0.0,), 128, dict.fromkeys(configuration["grids"], 0.1)
    )
    owned = range(*block(members, world.size, world.rank).indices(members))
    random = np.random.default_rng(world.rank)
    fields = {
        n: {
            m: {name: random.standard_normal((n, n)).astype("float32") for name in schema.VARIABLES}
            for m in owned
        }
        for n in layout.grids
    }
    spectra = {m: {name: np.ones(128) for name in schema.SPECTRA} for m in owned}
    plain = np.concatenate(
        [f.ravel() for g in fields.values() for s in g.values() for f in s.values()]
    )
    sizes = world.comm.allgather(plain.nbytes)
    place = sum(sizes[: world.rank])
    seconds: dict[str, list[float]] = {"dataset": [], "mpi_io": []}
    with tempfile.TemporaryDirectory(dir=configuration["scratch"]) as folder:
        shared = Path(world.comm.bcast(folder))
        create(shared / "dataset.h5", world.comm, layout, {"case": "{}", "system": "base"})
        file = MPI.File.Open(world.comm, str(shared / "plain"), MPI.MODE_CREATE | MPI.MODE_WRONLY)
        file.Preallocate(sum(sizes) * samples)
        with DatasetWriter.opened(shared / "dataset.h5", layout, world.comm) as writer:
            for sample in range(samples):
                world.comm.Barrier()
                began = time.perf_counter()
                writer.write_sample(sample, fields, spectra)
                seconds["dataset"].append(elapsed(world, began))
                began = time.perf_counter()
                file.Write_at_all(sample * sum(sizes) + place, plain)
                file.Sync()
                seconds["mpi_io"].append(elapsed(world, began))
        file.Close()
        world.comm.Barrier()
    if world.is_root:
        speed = {k: 1e-6 * sum(sizes) / np.array(v[1:]) for k, v in seconds.items()}
        record = {
            **configuration,
            "bytes": sum(sizes),
            **{f"{k}_mb_per_second": float(np.median(v)) for k, v in speed.items()},
            "ratio": float(np.median(speed["dataset"]) / np.median(speed["mpi_io"])),
            "seconds": seconds,
        }
        print(json.dumps(record))


def elapsed(world: Any, began: float) -> float:
    """Seconds since `began` on the slowest rank."""
    from eddyscope.parallel.reduce import largest

    return float(largest(world.comm, time.perf_counter() - began))


if __name__ == "__main__":
    main()
