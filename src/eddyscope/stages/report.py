"""`eddyscope report`: one self-contained page, with its pictures.

Writes report/index.html and report/*.png from whatever exists under the output folder; what
is missing is named on the page. Rank 0 draws; it takes seconds, so it is done anew each time.
"""

from __future__ import annotations

import json
from pathlib import Path

from eddyscope.stages.job import Job
from eddyscope.storage.atomic import cannot_write, write_atomically
from eddyscope.storage.disk import require_folder


class Report:
    """The stage."""

    name = "report"
    summary = "one page and its pictures, from whatever exists"

    def plan(self, job: Job) -> list[str]:
        """What would be written, a line each."""
        return [f"{job.out / 'report' / 'index.html'} and its pictures, from whatever exists"]

    def run(self, job: Job) -> None:
        """Draw the report and print the table of layers. Collective. Raises CannotWrite."""
        job.world.on_root(lambda: _report(job))


def _report(job: Job) -> None:
    # matplotlib takes a second to import: other ranks and stages need not wait for it.
    from eddyscope.report.figures import Drawn, draw_all
    from eddyscope.report.page import layers_of, page
    from eddyscope.report.results import gather
    from eddyscope.report.tables import Table

    folder = job.out / "report"
    require_folder(folder)
    results = gather(job.out, job.case.resolved(), job.case.flows)
    pictures = draw_all(results)
    text = page(results, pictures, _provenance(job))
    drawn = [item for items in pictures.values() for item in items if isinstance(item, Drawn)]
    _write(folder, {f"{item.name}.png": item.png for item in drawn}, text)
    table = layers_of(results)
    print(table.text() if isinstance(table, Table) else f"no table of layers: {table}")
    for missing in results.gaps:
        print(f"missing: {missing}")
    print(f"report: {folder / 'index.html'}", flush=True)


def _write(folder: Path, pictures: dict[str, bytes], page: str) -> None:
    """Replace the report in `folder`; pictures of an earlier one go. Raises CannotWrite."""
    for name, content in pictures.items():
        write_atomically(folder / name, content)
    write_atomically(folder / "index.html", page)
    for path in folder.glob("*.png"):
        if path.name not in pictures:
            try:
                path.unlink()
            except OSError as error:
                raise cannot_write(path, error) from None


def _provenance(job: Job) -> dict[str, object]:
    """The lines below the table of steps."""
    facts = job.provenance()
    versions = json.loads(facts["library_versions"])
    return {
        "case hash": facts["case_hash"],
        "report drawn by": f"eddyscope {facts['code_version']}, {job.world.size} rank(s)",
        "libraries": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


STAGE = Report()
