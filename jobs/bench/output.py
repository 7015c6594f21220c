"""How fast is a dataset written, against plain MPI-IO of the same bytes?

    python jobs/bench/output.py --ranks 1 2 --json jobs/results/output.json
    python jobs/bench/output.py --driver mpio       where h5py is built with MPI

In one process, in turn: a dataset's samples written by its writer (with checksums and spectra,
synced, marked committed), and the same fields' bytes written one after the other by collective
MPI-IO calls, as many samples in each, with as many syncs. Both files are new and have their
room on the disk beforehand.
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
        size, (least, most) = record["sample_bytes"] / 2**20, record["ratio_spread"]
        print(
            f"{ranks:>5} {size:>10.1f} {record['dataset_mb_per_second']:>13.0f} "
            f"{record['mpi_io_mb_per_second']:>12.0f} {record['ratio']:>6.2f} "
            f"({least:.2f}-{most:.2f})",
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
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--driver", default="direct", help="storage.driver of a case")
    parser.add_argument("--scratch", help="folder to write to (default: a temporary one)")
    parser.add_argument("--json", help="file for the raw figures")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def work(configuration: dict[str, Any]) -> None:
    """Write whole datasets both ways, in turn; rank 0 prints the record."""
    from mpi4py import MPI

    from eddyscope.artefacts.dataset import schema
    from eddyscope.artefacts.dataset.writer import DatasetWriter, Layout, capacity, create
    from eddyscope.parallel.world import World, block
    from eddyscope.storage.drivers.registry import STORAGE_DRIVERS

    world = World.launched()
    driver = STORAGE_DRIVERS.settings(configuration["driver"])
    comm, members, samples = world.comm, configuration["members"], configuration["samples"]
    layout = Layout(
        members, tuple(range(samples)), (0.0,), 128, dict.fromkeys(configuration["grids"], 0.1)
    )
    owned = range(*block(members, world.size, world.rank).indices(members))
    random = np.random.default_rng(world.rank)
    fields = {
        n: {
            m: {v: random.standard_normal((1, n, n)).astype(layout.dtype) for v in schema.VARIABLES}
            for m in owned
        }
        for n in layout.grids
    }
    spectra = {m: {name: np.ones(128) for name in schema.SPECTRA} for m in owned}
    everything = [f.ravel() for g in fields.values() for s in g.values() for f in s.values()]
    one = np.concatenate(everything)
    # As many samples at once as the dataset's writer takes, with one sync likewise.
    together = capacity(layout, -(-members // world.size))
    bytes_before = comm.scan(one.nbytes) - one.nbytes

    def dataset(path: Path) -> float:
        create(path, comm, layout, {"case": "{}", "system": "base"})
        comm.Barrier()
        began = time.perf_counter()
        with DatasetWriter.opened(path, layout, comm, owned, driver) as writer:
            for sample in range(samples):
                writer.add_sample(sample, fields, spectra)
        return elapsed(world, began)

    def mpi_io(path: Path) -> float:
        file = MPI.File.Open(comm, str(path), MPI.MODE_CREATE | MPI.MODE_WRONLY)
        file.Preallocate(samples * layout.sample_bytes())
        data = np.tile(one, together)
        comm.Barrier()
        began = time.perf_counter()
        for sample in range(0, samples, together):
            count = min(together, samples - sample)
            place = sample * layout.sample_bytes() + count * bytes_before
            file.Write_at_all(place, data[: count * one.size])
            file.Sync()
        file.Close()
        return elapsed(world, began)

    seconds: dict[str, list[float]] = {"dataset": [], "mpi_io": []}
    with tempfile.TemporaryDirectory(dir=configuration["scratch"]) as folder:
        path = Path(comm.bcast(folder)) / "file"
        for turn in range(configuration["rounds"] + 1):
            for write in (dataset, mpi_io) if turn % 2 else (mpi_io, dataset):
                took = write(path)
                if turn:  # the first warms up
                    seconds[write.__name__].append(took)
                if world.is_root:
                    path.unlink()
                comm.Barrier()
    if world.is_root:
        size = samples * layout.sample_bytes()
        speed = {k: 1e-6 * size / np.array(v) for k, v in seconds.items()}
        ratios = np.array(seconds["mpi_io"]) / np.array(seconds["dataset"])
        record = {
            **configuration,
            "sample_bytes": layout.sample_bytes(),
            "samples_at_once": together,
            **{f"{k}_mb_per_second": float(np.median(v)) for k, v in speed.items()},
            "ratio": float(np.median(ratios)),
            "ratio_spread": [float(ratios.min()), float(ratios.max())],
            "seconds": seconds,
        }
        print(json.dumps(record))


def elapsed(world: Any, began: float) -> float:
    """Seconds since `began` on the slowest rank."""
    from eddyscope.parallel.reduce import largest

    return float(largest(world.comm, time.perf_counter() - began))


if __name__ == "__main__":
    main()
