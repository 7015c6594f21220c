"""How fast is a time step, and what part of it is transforms?

    python jobs/bench/solver.py                             n = 256, 512, 1024 on 1 and 2 ranks
    python jobs/bench/solver.py --json jobs/results/solver.json
    python jobs/bench/solver.py --n 682 1364 --schemes ab2cn --precisions float64 float32
    python jobs/bench/solver.py --kinds fftw            without the other transforms beside it

Everything that is compared is timed in one process, in turn: the unit (one r2c transform of
the product grid by pyfftw, one thread, MEASURE), the four padded transforms of a right-hand
side alone (with their transposes), the transposes between ranks alone, whole steps, the
diagnostics, and a step with a sample (filtered, written, synced) before it. To compare with:
plain copies of memory, and the transposes' bytes sent by MPI from plain buffers, which show what
the machine can move; steps with the other transforms, which give the same numbers to rounding
(mpi4py_fft is the library's PFFT as it comes, with estimated plans); steps with plans that FFTW
measured, of float64 where the run is float32, and of one rank alone where there are more.
Times are the slowest rank's; the median of the rounds is quoted, also of ratios, with the least
and the most. Needs `pip install pyfftw` (the extra "bench").
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FLOW = {"kind": "navier_stokes", "reynolds": 1e4, "drag": 0.1}


def main() -> None:
    arguments = parse()
    if arguments.worker:
        work(json.loads(arguments.worker))
        return
    from eddyscope.parallel.launch import launch

    records: list[dict[str, Any]] = []
    for configuration in configurations(arguments):
        command = [sys.executable, __file__, "--worker", json.dumps(configuration)]
        done = launch(configuration["ranks"], command, 900, {"OMP_NUM_THREADS": "1"})
        if done.returncode:
            sys.exit(f"benchmark failed at {configuration}:\n{done.stderr}")
        record = json.loads(done.stdout.splitlines()[-1])
        records.append(record)
        print(row(record), flush=True)
    records.sort(key=lambda record: record["n"])
    if arguments.json:
        command_line = " ".join(["python", *sys.argv])
        text = {"command": command_line, "machine": machine(), "records": records}
        Path(arguments.json).write_text(json.dumps(text, indent=1) + "\n")
    if arguments.table:
        Path(arguments.table).write_text(table(records), encoding="utf-8")
    if arguments.figure:
        draw(records, Path(arguments.figure))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[256, 512, 1024], help="modes")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--planners", nargs="+", default=["estimate"])
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=["fftw", "mpi4py_fft"],
        help="transforms: fftw, whose steps are taken apart, and those whose steps stand beside it",
    )
    parser.add_argument("--precisions", nargs="+", default=["float64"])
    parser.add_argument("--schemes", nargs="+", default=["ab2cn"])
    parser.add_argument("--scratch", help="folder that samples are written to (default: temporary)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each measurement")
    parser.add_argument("--json", help="file for the raw figures")
    parser.add_argument("--table", help="Markdown table made from them")
    parser.add_argument("--figure", help="PNG made from them")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    print_header = "--worker" not in sys.argv
    arguments = parser.parse_args()
    if print_header:
        print(
            f"{'n':>5} {'grid':>5} {'ranks':>5} {'mesh':>7} {'type':>8} {'planner':>9} "
            f"{'scheme':>6} {'unit ms':>8} {'step ms':>8} {'units':>6} {'4 FFTs':>7} "
            f"{'rest %':>6} {'sample':>6} {'/rank':>5} {'/meas':>5} {'/f64':>5} {'PFFT/':>5} "
            f"{'Mpts/s/core':>11}"
        )
    return arguments


def configurations(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every combination asked for; more than one rank is tried by members and by pencils."""
    return [
        {
            "n": n,
            "ranks": ranks,
            "mesh": mesh,
            "members": mesh[0],
            "precision": precision,
            "planner": planner,
            "scheme": scheme,
            "kind": arguments.kinds[0],
            "beside": arguments.kinds[1:],
            "rounds": arguments.rounds,
            "scratch": arguments.scratch,
        }
        for n in arguments.n
        for precision in arguments.precisions
        for planner in arguments.planners
        for scheme in arguments.schemes
        for ranks in arguments.ranks
        for mesh in ([[1, 1]] if ranks == 1 else [[ranks, 1], [1, ranks]])
    ]


def work(configuration: dict[str, Any]) -> None:
    """Measure one configuration on the ranks that were launched; rank 0 prints its record."""
    from eddyscope.artefacts.dataset.writer import DatasetWriter, Layout, create
    from eddyscope.filtering.kernels import FILTERS
    from eddyscope.filtering.subgrid import Subgrid
    from eddyscope.parallel.reduce import largest
    from eddyscope.parallel.world import World
    from eddyscope.solver.diagnostics import Diagnostics
    from eddyscope.solver.observers import Sampler
    from eddyscope.spectral.registry import TRANSFORMS

    world = World.launched()
    members = configuration["members"]
    simulation = Stepping(world, configuration)
    flow, omega_hat, transform = simulation.flow, simulation.omega_hat, simulation.flow.transform
    local = len(omega_hat)

    def transforms() -> None:
        transform.map_points(nothing)

    def transposes() -> None:
        for _ in range(local):
            transform.transpose()
            transform.transpose_back()

    diagnostics = Diagnostics(flow)
    source = np.ones(2**23)
    target = np.empty_like(source)
    what = {
        "unit": unit_of(transform.grid.n_product, configuration["precision"]),
        "transforms": transforms,
        "transposes": transposes,
        "step": simulation.step,
        "diagnostics": lambda: diagnostics.means(omega_hat, 0.0, 1),
        "copy": lambda: np.copyto(target, source),
    }
    simulation.step()
    configuration["memory_mib_per_rank"] = largest(
        world.comm, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ).item()
    for kind in configuration["beside"]:
        what[f"step_{kind}"] = Stepping(world, {**configuration, "kind": kind}).step
    # What a step is compared with, in the same process and in turn with it. FFTW's estimates
    # know what it has measured before, so what is measured comes last.
    if world.size > 1:
        alone = {**configuration, "mesh": [1, 1], "members": 1}
        what["alone_step"] = Stepping(World.single(), alone).step
        what["alone_copy"] = what["copy"]
    if configuration["mesh"][1] > 1:
        what["plain_transposes"] = plain_transposes(world.comm, transform)
    if configuration["planner"] == "estimate":
        what["step_measure"] = Stepping(world, {**configuration, "planner": "measure"}).step
    if configuration["precision"] == "float32":
        what["step_float64"] = Stepping(world, {**configuration, "precision": "float64"}).step
    samples = 64
    layout = Layout(
        members, tuple(range(samples)), (0.0,), transform.grid.n_shells, {64: 0.2, 128: 0.1}
    )
    settings = FILTERS.settings("gaussian", n=[64, 128])
    subgrid = Subgrid(flow, settings, TRANSFORMS.settings("fftw"))
    with tempfile.TemporaryDirectory(dir=configuration["scratch"]) as folder:
        path = Path(world.comm.bcast(folder)) / "dataset.h5"
        create(path, world.comm, layout, {"case": "{}", "system": "base"})
        with DatasetWriter.opened(path, layout, world.comm, transform.owned) as writer:
            sampler = Sampler(subgrid, diagnostics, writer, [False])
            numbers = itertools.cycle(range(samples))

            def sampled_step() -> None:
                sampler.take(next(numbers), omega_hat, simulation.scheme)
                simulation.step()

            what["sampled_step"] = sampled_step
            seconds = in_turn(world, what, configuration["rounds"])
        world.comm.Barrier()
    if world.is_root:
        copied = 2 * source.nbytes * configuration["ranks"]  # read and written
        print(json.dumps(summary(configuration, transform.grid.n_product, copied, seconds)))


class Stepping:
    """A flow with a state, advanced by `step`."""

    def __init__(self, world: Any, configuration: dict[str, Any]):
        from eddyscope.flows.navier_stokes import NavierStokes
        from eddyscope.solver.closure import NoClosure
        from eddyscope.solver.schemes.registry import SCHEMES
        from eddyscope.spectral.grid import Grid
        from eddyscope.spectral.registry import TRANSFORMS

        n, shape = configuration["n"], tuple(configuration["mesh"])
        grid = Grid(n, precision=configuration["precision"])
        mesh = world.mesh(configuration["members"], n // 2, shape)
        kind = configuration["kind"]
        planner = {"planner": configuration["planner"]} if kind == "fftw" else {}
        transform = TRANSFORMS.build(TRANSFORMS.settings(kind, **planner), grid, mesh)
        self.flow = NavierStokes(NavierStokes.Settings.model_validate(FLOW), transform)
        self.scheme = SCHEMES.build(SCHEMES.settings(configuration["scheme"]), self.flow, 1e-6)
        self.omega_hat = transform.zeros_spectral()
        random = np.random.default_rng(world.rank)
        self.omega_hat[...] = random.standard_normal(self.omega_hat.shape) * transform.keep
        self._no_closure = NoClosure().pi_hat

    def step(self) -> None:
        self.scheme.step(self.omega_hat, 0.0, 1, self._no_closure)


def nothing(points: Any, maxima: Any) -> None:
    """The pointwise function that leaves only the transforms."""


def unit_of(n_product: int, precision: str) -> Callable[[], Any]:
    """One r2c transform of the product grid by pyfftw: one thread, MEASURE, out of place."""
    import pyfftw

    complex_kind = "complex128" if precision == "float64" else "complex64"
    field = pyfftw.empty_aligned((n_product, n_product), dtype=precision)
    field_hat = pyfftw.empty_aligned((n_product, n_product // 2 + 1), dtype=complex_kind)
    plan = pyfftw.FFTW(field, field_hat, axes=(0, 1), flags=("FFTW_MEASURE",), threads=1)
    field[...] = np.random.default_rng(0).standard_normal(field.shape)
    return plan.execute  # type: ignore[no-any-return]


def plain_transposes(comm: Any, transform: Any) -> Callable[[], Any]:
    """What one member's transposes send, there and back, by MPI alone from and to plain buffers."""
    grid = transform.grid
    # Of its share of two fields, a rank sends each other rank that one's share of the rows.
    values = 2 * (grid.n // 2) * grid.n_product // comm.size**2
    sent = np.ones((comm.size, values), grid.complex)
    received = np.empty_like(sent)
    counts = [values * (rank != comm.rank) for rank in range(comm.size)]
    starts = [values * rank for rank in range(comm.size)]

    def both_ways() -> None:
        for _ in range(2):
            comm.Alltoallv((sent, counts, starts, None), (received, counts, starts, None))

    return both_ways


def in_turn(world: Any, what: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of one call of each, round by round, the slowest rank's; the unit on rank 0 alone."""
    from eddyscope.parallel.reduce import largest

    calls = {name: calls_for(world, name, function) for name, function in what.items()}
    seconds: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(rounds):
        for name, function in what.items():
            world.comm.Barrier()
            began = time.perf_counter()
            if world.is_root or not alone(name):
                for _ in range(calls[name]):
                    function()
            took = (time.perf_counter() - began) / calls[name]
            seconds[name].append(float(largest(world.comm, took)))
    return seconds


def alone(name: str) -> bool:
    """Whether rank 0 does it, while the others wait."""
    return name == "unit" or name.startswith("alone_")


def calls_for(world: Any, name: str, function: Callable[[], Any], target: float = 0.3) -> int:
    """How many calls take about `target` seconds, agreed by all ranks; warms up."""
    took = 0.0
    if world.is_root or not alone(name):
        function()
        began = time.perf_counter()
        function()
        took = time.perf_counter() - began
    return int(min(1000, max(1, target / world.comm.bcast(took))))


def summary(
    configuration: dict[str, Any], n_product: int, copied: int, seconds: dict[str, list[float]]
) -> dict[str, Any]:
    """Medians over the rounds, also of ratios: what are compared were timed in the same round,
    so that a round in which others used the machine changes both."""
    rounds = {name: 1e3 * np.array(values) for name, values in seconds.items()}
    # A step uses the advection that a sample before it has worked out, so both are measured.
    rounds["sample"] = rounds.pop("sampled_step") - rounds["step"]

    def ms(name: str) -> float:
        return float(np.median(rounds[name]))

    def ratio(name: str, to: str) -> float:
        return float(np.median(rounds[name] / rounds[to]))

    members, ranks = configuration["members"], configuration["ranks"]
    units = rounds["step"] / rounds["unit"] / members
    record = {
        **configuration,
        "product_grid": n_product,
        "unit_ms": ms("unit"),
        "step_ms": ms("step"),
        "step_units": float(np.median(units)),
        "step_units_spread": [units.min().item(), units.max().item()],
        "transforms_ms": ms("transforms"),
        "transforms_units": ratio("transforms", "unit") / members,
        "transposes_ms": ms("transposes"),
        "pointwise_ms": ms("step") - ms("transforms"),
        "pointwise_share": 1.0 - ratio("transforms", "step"),
        "step_over_transforms": ratio("step", "transforms"),
        "diagnostics_ms": ms("diagnostics"),
        "sample_ms": ms("sample"),
        "sample_steps": ratio("sample", "step"),
        "copy_gb_per_second": 1e-6 * copied / ms("copy"),
        "points_per_second_and_core": 1e3 * members * n_product**2 / ms("step") / ranks,
        "spread_ms": {name: [t.min().item(), t.max().item()] for name, t in rounds.items()},
    }
    if "step_measure" in rounds:
        record["step_over_measure"] = ratio("step", "step_measure")
    for kind in configuration["beside"]:
        record[f"{kind}_over_step"] = ratio(f"step_{kind}", "step")
    if "step_float64" in rounds:
        record["step_over_float64"] = ratio("step", "step_float64")
    if "plain_transposes" in rounds:
        record["transposes_over_plain"] = ratio("transposes", "plain_transposes")
        record["transposes_share"] = ratio("transposes", "step")
    if "alone_step" in rounds:
        # What the ranks do together in the time in which one alone does one; and how much more
        # memory they move together: a step that waits for memory alone cannot gain more.
        record["throughput_over_one_rank"] = members * ratio("alone_step", "step")
        record["copy_over_one_rank"] = ranks * ratio("alone_copy", "copy")
    return record


def row(record: dict[str, Any]) -> str:
    mesh = "x".join(map(str, record["mesh"]))

    def ratio(name: str) -> str:
        return f"{record[name]:>5.2f}" if name in record else f"{'':>5}"

    return (
        f"{record['n']:>5} {record['product_grid']:>5} {record['ranks']:>5} {mesh:>7} "
        f"{record['precision']:>8} {record['planner']:>9} {record['scheme']:>6} "
        f"{record['unit_ms']:>8.2f} {record['step_ms']:>8.2f} {record['step_units']:>6.2f} "
        f"{record['transforms_units']:>7.2f} {100 * record['pointwise_share']:>6.0f} "
        f"{record['sample_steps']:>6.2f} {ratio('throughput_over_one_rank')} "
        f"{ratio('step_over_measure')} {ratio('step_over_float64')} "
        f"{ratio('mpi4py_fft_over_step')} "
        f"{record['points_per_second_and_core'] / 1e6:>11.1f}"
    )


def table(records: list[dict[str, Any]]) -> str:
    """The records in Markdown, for people."""
    lines = [
        "| product grid | mesh | precision | planner | step, units | four transforms, units "
        "| transposes (of plain MPI) | rest | sample, steps | speed-up over one rank (of memory) "
        "| over measured plans | over float64 | PFFT's steps over these | Mpoints/s, core "
        "| MiB a rank |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        low, high = r["step_units_spread"]
        faster = measured = of_double = sent = beside = ""
        if "transposes_over_plain" in r:
            sent = f"{100 * r['transposes_share']:.0f} % ({r['transposes_over_plain']:.2f})"
        if "throughput_over_one_rank" in r:
            faster = f"{r['throughput_over_one_rank']:.2f} ({r['copy_over_one_rank']:.2f})"
        if "step_over_measure" in r:
            measured = f"{r['step_over_measure']:.2f}"
        if "mpi4py_fft_over_step" in r:
            beside = f"{r['mpi4py_fft_over_step']:.2f}"
        if "step_over_float64" in r:
            of_double = f"{r['step_over_float64']:.2f}"
        lines.append(
            f"| {r['product_grid']}² | {r['mesh'][0]} × {r['mesh'][1]} | {r['precision']} "
            f"| {r['planner']} | {r['step_units']:.2f} ({low:.2f}–{high:.2f}) "
            f"| {r['transforms_units']:.2f} | {sent} | {100 * r['pointwise_share']:.0f} % "
            f"| {r['sample_steps']:.2f} | {faster} | {measured} | {of_double} | {beside} "
            f"| {r['points_per_second_and_core'] / 1e6:.0f} "
            f"| {r['memory_mib_per_rank']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """Bars of a step in units by what it is made of, one a configuration."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.5 + 0.34 * len(records)), layout="constrained")
    names = [
        f"{r['product_grid']}², {r['ranks']} rank(s) {r['mesh'][0]} x {r['mesh'][1]}, "
        f"{r['precision']}, {r['planner']}"
        for r in records
    ]
    per_unit = [1.0 / (r["unit_ms"] * r["members"]) for r in records]
    sent = [r["transposes_ms"] * u for r, u in zip(records, per_unit, strict=True)]
    computed = [r["transforms_ms"] * u - t for r, u, t in zip(records, per_unit, sent, strict=True)]
    rest = [max(0.0, r["pointwise_ms"]) * u for r, u in zip(records, per_unit, strict=True)]
    left = np.zeros(len(records))
    for values, colour, label in (
        (computed, "#0072B2", "transforms"),
        (sent, "#E69F00", "transposes between ranks"),
        (rest, "#009E73", "pointwise and the rest"),
    ):
        axes.barh(names, values, left=left, color=colour, label=label)
        left += np.array(values)
    axes.set_xlabel("one step of one member, in units (one r2c FFT of the product grid by FFTW)")
    axes.invert_yaxis()
    axes.legend()
    figure.savefig(path, dpi=130)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


if __name__ == "__main__":
    main()
