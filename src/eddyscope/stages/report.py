"""`eddyscope report`: one self-contained page, with its pictures.

Writes report/index.html and report/*.png from whatever exists under the output folder;
what is missing is named on the page. Rank 0 draws; it takes seconds, so it is done anew
each time.
"""

from __future__ import annotations

import json

from eddyscope.stages.job import Job
from eddyscope.storage.atomic import write_atomically


def plan(job: Job) -> list[str]:
    """What would be written, a line each."""
    return [f"{job.out / 'report' / 'index.html'} and its pictures, from whatever exists"]


def run(job: Job) -> None:
    """Draw the report and print the table of layers. Collective."""
    job.world.on_root(lambda: _draw(job))


def _draw(job: Job) -> None:
    # matplotlib takes a second to import: other ranks and stages need not wait for it.
    from eddyscope.report import outcome, summary
    from eddyscope.report.figures import draw_all
    from eddyscope.report.findings import find
    from eddyscope.report.page import compose
    from eddyscope.report.results import Absent, gather
    from eddyscope.report.tables import Table, layer_table

    folder = job.out / "report"
    results = gather(job.out, job.case.resolved())
    for old in folder.glob("*.png"):
        old.unlink()
    table: Table | str
    try:
        table = layer_table(find(results))
    except Absent as gap:
        table = str(gap)
    words = {
        "setting": summary.setting(results),
        "outcome": outcome.outcome(results),
        "limits": summary.limits(results),
    }
    page = compose(
        results,
        outcome.headlines(results),
        words,
        table,
        draw_all(results, folder),
        _provenance(job),
    )
    write_atomically(folder / "index.html", page)
    print(f"no table of layers: {table}" if isinstance(table, str) else table.text())
    for missing in results.gaps:
        print(f"missing: {missing}")
    print(f"report: {folder / 'index.html'}", flush=True)


def _provenance(job: Job) -> dict[str, object]:
    """The lines below the table of steps."""
    facts = job.provenance()
    versions = json.loads(facts["library_versions"])
    return {
        "case hash": facts["case_hash"],
        "report drawn by": f"eddyscope {facts['code_version']}, {job.world.size} rank(s)",
        "libraries": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
