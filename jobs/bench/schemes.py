"""What does a turnover time cost with each scheme, at equal error?

    python jobs/bench/schemes.py --json jobs/results/schemes.json

A developed, decaying flow is advanced over one turnover time 2π/√(2Z) (from its enstrophy Z) with
each scheme and a ladder of time steps, and compared with the same flow advanced by ifrk3
with a step far smaller than any of them. Printed are the relative error in L2 of the
vorticity and the wall time; a blow-up is an infinite error. The schemes take turns, so that
the machine's moods meet them alike.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from eddyscope.flows.initial import RandomSpectrum
from eddyscope.flows.navier_stokes import NavierStokes
from eddyscope.parallel.world import World
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.registry import TRANSFORMS

STEPS = (16, 23, 32, 45, 64, 91, 128, 181, 256, 512, 1024)
"""Steps over the turnover time."""
REFERENCE = 4096


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=256, help="modes")
    parser.add_argument("--reynolds", type=float, default=1e4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--errors", type=float, nargs="+", default=[1e-2, 1e-3, 1e-4])
    parser.add_argument("--json", help="file for the raw figures")
    arguments = parser.parse_args()
    flow, state, turnover = developed(arguments.n, arguments.reynolds)
    exact, _ = advance(flow, "ifrk3", state, turnover, REFERENCE)
    print(f"n = {arguments.n}, Re = {arguments.reynolds:g}, turnover time {turnover:.4g}")
    print(
        f"{'scheme':>7} {'steps':>6} {'dt':>9} {'error':>9} "
        f"{'ms a turnover: median (min, max)':>33}"
    )
    records = []
    for steps in STEPS:
        for scheme in SCHEMES:
            seconds = []
            for _ in range(arguments.rounds):
                found, took = advance(flow, scheme, state, turnover, steps)
                seconds.append(took)
            error = distance(found, exact)
            ms = [1e3 * s for s in (np.median(seconds), min(seconds), max(seconds))]
            print(
                f"{scheme:>7} {steps:>6} {turnover / steps:>9.2e} {error:>9.1e} "
                f"{ms[0]:>15.0f} ({ms[1]:.0f}, {ms[2]:.0f})",
                flush=True,
            )
            records.append(
                {"scheme": scheme, "steps": steps, "dt": turnover / steps, "error": error, "ms": ms}
            )
    summary = at_equal_error(records, arguments.errors)
    if arguments.json:
        text = {
            "command": " ".join(["python", *sys.argv]),
            "n": arguments.n,
            "reynolds": arguments.reynolds,
            "turnover_time": turnover,
            "records": [{**r, "error": finite(r["error"])} for r in records],
            "at_equal_error": summary,
        }
        Path(arguments.json).write_text(json.dumps(text, indent=1) + "\n")


def developed(n: int, reynolds: float) -> tuple[Any, Any, float]:
    """A flow, a developed state of it, and the state's turnover time."""
    mesh = World.single().mesh(1, n // 2)
    transform = TRANSFORMS.build(TRANSFORMS.settings("fftw"), Grid(n), mesh)
    settings = NavierStokes.Settings.model_validate(
        {
            "kind": "navier_stokes",
            "reynolds": reynolds,
            "drag": 0.0,
            "forcing": {"kind": "none"},
        }
    )
    flow = NavierStokes(settings, transform)
    state = transform.zeros_spectral()
    initial = RandomSpectrum(RandomSpectrum.Settings(energy=0.5, peak=6.0), seed=1)
    state[0, 0] = transform.take(initial.coefficients(n, 0))
    state, _ = advance(flow, "ifrk3", state, 2.0, 2000)
    enstrophy = float(Diagnostics(flow).means(state, 0.0, 0)["enstrophy"][0])
    return flow, state, 2.0 * np.pi / np.sqrt(2.0 * enstrophy)


def advance(flow: Any, scheme: str, start: Any, span: float, steps: int) -> tuple[Any, float]:
    """The state after `span` in `steps` steps, and the seconds it took."""
    state, closure = start.copy(), NoClosure()
    stepper = SCHEMES.build(SCHEMES.settings(scheme), flow, span / steps)
    began = time.perf_counter()
    with np.errstate(all="ignore"):
        for step in range(steps):
            stepper.step(state, 0.0, step, closure.pi_hat)
    return state, time.perf_counter() - began


def distance(found: Any, exact: Any) -> float:
    with np.errstate(all="ignore"):
        error = float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    return error if np.isfinite(error) else float("inf")


def finite(value: float) -> float | str:
    """JSON has no infinity."""
    return value if np.isfinite(value) else "blew up"


def at_equal_error(records: list[dict[str, Any]], errors: list[float]) -> list[dict[str, Any]]:
    """For each error the fewest milliseconds with which each scheme stays within it."""
    summary = []
    for error in errors:
        row: dict[str, Any] = {"error": error}
        for scheme in SCHEMES:
            good = [r["ms"][0] for r in records if r["scheme"] == scheme and r["error"] <= error]
            row[scheme] = min(good) if good else None
        summary.append(row)
        words = ", ".join(f"{s} {row[s]:.0f} ms" if row[s] else f"{s} not reached" for s in SCHEMES)
        print(f"error {error:g}: {words}")
    return summary


if __name__ == "__main__":
    main()
