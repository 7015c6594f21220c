"""Merges what jobs/local/test.sh wrote down and ends with one line: N passed, N failed, N skipped.

    python tests/report_counts.py test-reports

`steps.txt` has one line a step: its name, its exit status, its ranks (0: not tests), and
whether a selection of tests was asked for. `<name>-r<rank>.jsonl` holds the outcomes. A
test on several ranks counts once for each rank count: failed if any rank failed or never
finished it. A step that ends badly with no failed test of its own counts as one failure.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

TIMED_OUT = (124, 137)
NO_TESTS = 5
"""pytest's exit status when nothing was selected."""


def rank_outcomes(path: Path) -> dict[str, str]:
    """Test -> its outcome on one rank: failed before skipped before passed; or started."""
    order = ["started", "passed", "skipped", "failed"]
    outcomes: dict[str, str] = {}
    for line in path.read_text().splitlines():
        test, outcome = json.loads(line)
        outcomes[test] = max(outcomes.get(test, "started"), outcome, key=order.index)
    return outcomes


def merge(ranks: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    """Test -> (outcome over all ranks, a note for the reader)."""
    merged = {}
    for test in dict.fromkeys(test for rank in ranks for test in rank):
        outcomes = [rank.get(test, "started") for rank in ranks]
        failed = [str(i) for i, outcome in enumerate(outcomes) if outcome == "failed"]
        unfinished = [str(i) for i, outcome in enumerate(outcomes) if outcome == "started"]
        if failed or unfinished:
            notes = []
            if failed:
                notes.append(f"failed on rank {', '.join(failed)}")
            if unfinished:
                notes.append(f"never finished on rank {', '.join(unfinished)}")
            merged[test] = ("failed", "; ".join(notes))
        else:
            merged[test] = ("passed" if "passed" in outcomes else "skipped", "")
    return merged


def read_step(folder: Path, name: str, status: int, ranks: int, selected: bool) -> Counter[str]:
    """Count one step's tests, printing what failed."""
    counts: Counter[str] = Counter()
    files = [folder / f"{name}-r{rank}.jsonl" for rank in range(ranks)]
    missing = [str(rank) for rank, file in enumerate(files) if not file.exists()]
    tests = merge([rank_outcomes(file) for file in files if file.exists()])
    for test, (outcome, note) in tests.items():
        counts[outcome] += 1
        if outcome == "failed":
            print(f"FAILED {name}: {test} ({note})")
    problem = ""
    if status in TIMED_OUT:
        problem = "ran past its time limit, or was killed"
    elif missing:
        problem = f"no report from rank {', '.join(missing)}"
    elif status == NO_TESTS or (ranks and not tests):
        problem = "" if selected else "no tests were found"
    elif status != 0 and not counts["failed"]:
        problem = f"ended with status {status}"
    if problem:
        counts["failed"] = max(counts["failed"], 1)
        print(f"FAILED {name}: {problem}")
    return counts


def main(folder: Path) -> int:
    """Print the findings and the closing line; 0 if some tests passed and none failed."""
    total: Counter[str] = Counter()
    for line in (folder / "steps.txt").read_text().splitlines():
        name, status, ranks, selected = line.split()
        total += read_step(folder, name, int(status), int(ranks), selected == "yes")
    if not total["passed"] and not total["failed"]:
        print("no test passed and none failed: was the selection misspelt?")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 0 if total["passed"] and not total["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
