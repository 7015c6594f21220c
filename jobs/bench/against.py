"""Is a step here slower than in another checkout of the project?

    git worktree add ../before v0.1 && python jobs/bench/against.py ../before
    python jobs/bench/against.py ../before --n 256 682 --json jobs/results/against.json

Runs the worker of each checkout's own jobs/bench/solver.py in turn, several times over, so that
whatever else the machine does meets both alike, and quotes the median of the ratios here over
there, with the least and the most. Both checkouts use this environment's libraries. Needs
`pip install pyfftw` (the extra "bench").
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from solver import configurations, machine

HERE = Path(__file__).resolve().parents[2]

COMPARED = ("step_ms", "diagnostics_ms", "sample_ms")
"""What of a worker's record is compared."""


def main() -> None:
    arguments = parse()
    records = []
    for configuration in configurations(arguments):
        pairs = [
            (measured(HERE, configuration), measured(arguments.other, configuration))
            for _ in range(arguments.turns)
        ]
        record = {**configuration, **{what: compared(pairs, what) for what in COMPARED}}
        records.append(record)
        print(row(record), flush=True)
    if arguments.json:
        text = {
            "command": " ".join(["python", *sys.argv]),
            "machine": machine(),
            "versions": {"here": version(HERE), "there": version(arguments.other)},
            "records": records,
        }
        Path(arguments.json).write_text(json.dumps(text, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="root of the other checkout")
    parser.add_argument("--n", type=int, nargs="+", default=[256, 682, 1364], help="modes")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--planners", nargs="+", default=["estimate"])
    parser.add_argument("--precisions", nargs="+", default=["float64", "float32"])
    parser.add_argument("--schemes", nargs="+", default=["ab2cn"])
    parser.add_argument("--turns", type=int, default=3, help="runs of each checkout")
    parser.add_argument("--rounds", type=int, default=3, help="rounds within a run")
    parser.add_argument("--scratch", help="folder that samples are written to")
    parser.add_argument("--json", help="file for the raw figures")
    parser.set_defaults(kinds=["fftw"])
    return parser.parse_args()


def measured(root: Path, configuration: dict[str, Any]) -> dict[str, Any]:
    """What the checkout's own benchmark says of a configuration."""
    script = root / "jobs" / "bench" / "solver.py"
    ranks = configuration["ranks"]
    command = ["mpirun", "--allow-run-as-root", "-n", str(ranks), sys.executable, str(script)]
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--worker", json.dumps(configuration)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        sys.exit(f"benchmark of {root} failed at {configuration}:\n{done.stderr}")
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def compared(pairs: list[tuple[dict[str, Any], dict[str, Any]]], what: str) -> dict[str, Any]:
    """Times here and there in each turn, in milliseconds, and their ratios."""
    here, there = ([record[what] for record in side] for side in zip(*pairs, strict=True))
    ratios = sorted(h / t for h, t in zip(here, there, strict=True))
    return {
        "here_ms": here,
        "there_ms": there,
        "ratio": statistics.median(ratios),
        "least": ratios[0],
        "most": ratios[-1],
        "ratio_of_least": min(here) / min(there),
    }


def row(record: dict[str, Any]) -> str:
    parts = [
        f"{what.removesuffix('_ms')} {r['ratio']:.2f} ({r['least']:.2f}-{r['most']:.2f})"
        for what in COMPARED
        for r in [record[what]]
    ]
    mesh = f"{record['mesh'][0]} x {record['mesh'][1]}"
    return f"n = {record['n']}, {mesh}, {record['precision']}, here / there: {', '.join(parts)}"


def version(root: Path) -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True
    )
    return described.stdout.strip()


if __name__ == "__main__":
    main()
