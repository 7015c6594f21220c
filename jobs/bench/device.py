"""How fast is a step with `transform.kind = "torch"` on this device, beside what memory allows?

    python jobs/bench/device.py                                    this machine's GPU, or its CPU
    python jobs/bench/device.py --n 256 512 1024 2048 4096 --members 1 4 16 64 --json device.json
    python jobs/bench/device.py --device cpu --n 682 --members 1 --precisions float64

One process, without an MPI launcher. Of each n, members and precision, timed with the device idle
before and after: one ab2cn step of all members, in ms a member, and the share of the step that it
would take if memory were all that matters. The model: each loop and each pass of a transform reads
and writes what it must once. With h = n/2 columns of n modes, product grid N, and sizes c and r of
complex and real numbers, a step of a member moves

    7 h n c     ω to velocities; J; ω, J, J₋ read and ω, J₋ written by the update
    16 h N c    two fields: padded, c2c along y, read by c2r along x; and back
    8 N² r      two fields on points: written, read and written by the products, read

bytes, beside 3 h n r of factors that all members share. The bandwidth is that of a copy of
tensors in the same run, read and written. On a CPU also: a right-hand side in units of one r2c
transform of the product grid by FFTW (pyfftw, one thread, MEASURE), beside that of the default
transform, in turn (needs `pip install pyfftw`). Medians of the rounds, with least and most.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

FLOW = {"kind": "navier_stokes", "reynolds": 1e4, "drag": 0.1}

SECONDS = 0.3
"""Of calls that are timed together."""


def main() -> None:
    arguments = parse()
    device = torch.device("cuda" if wants_gpu(arguments.device) else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(arguments.threads)
    bandwidth = copy_bandwidth(device)
    print(f"{machine(device)}: copies {bandwidth / 1e9:.0f} GB/s", flush=True)
    records: list[dict[str, Any]] = []
    for n in arguments.n:
        for precision in arguments.precisions:
            for members in arguments.members:
                try:
                    record = measured(n, precision, members, device, arguments)
                except torch.OutOfMemoryError:
                    print(f"n = {n}, {precision}, {members} member(s): do not fit", flush=True)
                    continue
                record["share"] = record["bytes"] / bandwidth * 1e3 / record["step_ms"]
                records.append(record)
                print(row(record), flush=True)
    if arguments.json:
        facts = {
            "command": " ".join(["python", *sys.argv]),
            "machine": machine(device),
            "torch": torch.__version__,
            "bandwidth_bytes_per_s": bandwidth,
            "records": records,
        }
        Path(arguments.json).write_text(json.dumps(facts, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[256, 682], help="modes")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--precisions", nargs="+", default=["float64", "float32"])
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--compile", choices=["auto", "true", "false"], default="auto")
    parser.add_argument("--scheme", default="ab2cn")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the raw figures")
    return parser.parse_args()


def wants_gpu(device: str) -> bool:
    return device == "cuda" or (device == "auto" and torch.cuda.is_available())


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{platform.processor() or platform.machine()}, {threads} thread(s)"


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy that is in no cache: the best of some."""
    count = 2**26 if device.type == "cuda" else 2**23
    source = torch.ones(count, dtype=torch.float64, device=device)
    target = torch.empty_like(source)
    times = [seconds(lambda: target.copy_(source), 3, device) for _ in range(5)]
    return 2 * source.nbytes / min(times)


def measured(
    n: int, precision: str, members: int, device: torch.device, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Times of one configuration."""
    chosen = {"auto": "auto", "true": True, "false": False}[arguments.compile]
    settings = {"device": device.type, "compile": chosen}
    stepping = Stepping("torch", settings, n, precision, members, arguments.scheme)
    what: dict[str, Callable[[], Any]] = {"step": stepping.step, "rhs": stepping.right_hand_side}
    grid = stepping.flow.transform.grid
    if device.type == "cpu":
        default = Stepping("fftw", {}, n, precision, members, arguments.scheme)
        what |= {"fftw_step": default.step, "fftw_rhs": default.right_hand_side}
        if unit := unit_of(grid.n_product, precision):
            what["unit"] = unit
    began = time.perf_counter()
    stepping.step()
    synchronise(device)
    first = time.perf_counter() - began
    calls = {name: calls_for(function, device) for name, function in what.items()}
    rounds: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(arguments.rounds):
        for name, function in what.items():
            rounds[name].append(1e3 * seconds(function, calls[name], device))
    record: dict[str, Any] = {
        "n": n,
        "product_grid": grid.n_product,
        "precision": precision,
        "members": members,
        "compiled": stepping.compiled,
        "first_step_s": first,
        "bytes": bytes_a_step(grid, members),
    }
    for name, values in rounds.items():
        record[f"{name}_ms"] = float(np.median(values))
        record[f"{name}_ms_spread"] = [min(values), max(values)]
    record["step_ms_member"] = record["step_ms"] / members
    for name in ("rhs", "fftw_rhs") if "unit" in rounds else ():
        units = np.array(rounds[name]) / np.array(rounds["unit"]) / members
        record[f"{name}_units"] = float(np.median(units))
        record[f"{name}_units_spread"] = [units.min().item(), units.max().item()]
    return record


def bytes_a_step(grid: Any, members: int) -> int:
    """What one ab2cn step of all members must move, by the model above."""
    columns, n, size = grid.n // 2, grid.n, grid.n_product
    c, r = grid.complex.itemsize, grid.real.itemsize
    member = 7 * columns * n * c + 16 * columns * size * c + 8 * size**2 * r
    return int(members * member + 3 * columns * n * r)


class Stepping:
    """A flow with a state on this process alone."""

    def __init__(
        self,
        kind: str,
        settings: dict[str, Any],
        n: int,
        precision: str,
        members: int,
        scheme: str,
    ):
        from eddyscope.flows.navier_stokes import NavierStokes
        from eddyscope.parallel.world import World
        from eddyscope.solver.closure import NoClosure
        from eddyscope.solver.schemes.registry import SCHEMES
        from eddyscope.spectral.grid import Grid
        from eddyscope.spectral.registry import TRANSFORMS

        grid, mesh = Grid(n, precision=precision), World.single().mesh(members, n // 2, (1, 1))
        transform = TRANSFORMS.build(TRANSFORMS.settings(kind, **settings), grid, mesh)
        self.flow = NavierStokes(NavierStokes.Settings.model_validate(FLOW), transform)
        self.scheme = SCHEMES.build(SCHEMES.settings(scheme), self.flow, 1e-6)
        self.compiled = bool(getattr(transform.loops, "compiled", False))
        self.omega_hat, self.advection_hat = transform.zeros_spectral(), transform.zeros_spectral()
        random = np.random.default_rng(0)
        for member in range(members):
            noise = random.standard_normal(transform.spectral_shape[1:]) * transform.keep[0]
            self.omega_hat[member] = transform.from_host(noise.astype(grid.complex))
        self._no_closure = NoClosure().pi_hat

    def step(self) -> None:
        self.scheme.step(self.omega_hat, 0.0, 1, self._no_closure)

    def right_hand_side(self) -> None:
        self.flow.advection(self.omega_hat, self.advection_hat)


def unit_of(n_product: int, precision: str) -> Callable[[], Any] | None:
    """One r2c transform of the product grid by pyfftw: one thread, MEASURE, out of place."""
    try:
        import pyfftw
    except ImportError:
        return None
    complex_kind = "complex128" if precision == "float64" else "complex64"
    field = pyfftw.empty_aligned((n_product, n_product), dtype=precision)
    field_hat = pyfftw.empty_aligned((n_product, n_product // 2 + 1), dtype=complex_kind)
    plan = pyfftw.FFTW(field, field_hat, axes=(0, 1), flags=("FFTW_MEASURE",), threads=1)
    field[...] = np.random.default_rng(0).standard_normal(field.shape)
    return plan.execute  # type: ignore[no-any-return]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(function: Callable[[], Any], calls: int, device: torch.device) -> float:
    """Of one call, of so many in a row."""
    synchronise(device)
    began = time.perf_counter()
    for _ in range(calls):
        function()
    synchronise(device)
    return (time.perf_counter() - began) / calls


def calls_for(function: Callable[[], Any], device: torch.device) -> int:
    """How many calls take about SECONDS; warms up."""
    function()
    return int(min(1000, max(1, SECONDS / seconds(function, 1, device))))


def row(record: dict[str, Any]) -> str:
    words = [
        f"n = {record['n']} ({record['product_grid']}²), {record['precision']}, "
        f"{record['members']} member(s)" + (", compiled" if record["compiled"] else ""),
        f"{record['step_ms_member']:.3g} ms a step and member",
        f"{100 * record['share']:.0f} % of what memory allows",
    ]
    if "rhs_units" in record:
        words.append(
            f"right-hand side {record['rhs_units']:.2f} units, fftw {record['fftw_rhs_units']:.2f}"
        )
    return ": ".join([words[0], ", ".join(words[1:])])


if __name__ == "__main__":
    main()
