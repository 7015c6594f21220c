"""`eddyscope report`: one self-contained page, with its pictures.

Writes report/index.html and report/*.png from whatever exists under the output folder; what
is missing is named on the page. Rank 0 draws; it takes seconds, so it is done anew each time.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.les import FILTERED_DNS
from eddyscope.stages.case import Case
from eddyscope.stages.job import Job, Work
from eddyscope.stages.les_target import Target
from eddyscope.stages.stage import Stage
from eddyscope.storage.atomic import cannot_write, write_atomically
from eddyscope.storage.disk import require_folder


class Report(Stage):
    """The stage."""

    name = "report"
    summary = "one page and its pictures, from whatever exists"

    def plan(self, job: Job) -> list[str]:
        """What would be written, a line each."""
        return [f"{job.out / 'report' / 'index.html'} and its pictures, from whatever exists"]

    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """None: it is done anew each time."""
        return []

    def run(self, job: Job) -> None:
        """Draw the report and print the table of layers. Collective. Raises CannotWrite."""
        facts = _provenance(job.provenance(), job.world.size)
        job.world.say(job.world.on_root(lambda: _report(job.case, job.out, facts)))


def _report(case: Case, out: Path, facts: Mapping[str, object]) -> str:
    """Draw it; gives what is to be said. On rank 0."""
    # matplotlib takes a second to import: other ranks and stages need not wait for it.
    from eddyscope.report.figures import Drawn, draw_all
    from eddyscope.report.page import layers_of, page
    from eddyscope.report.results import gather
    from eddyscope.report.tables import Table

    folder = out / "report"
    require_folder(folder)
    models = [ModelKey(), *case.transfer_models]
    closures = [FILTERED_DNS, *(closure.text for closure in case.les.closures)]
    resolved = case.resolved()
    resolved["network"]["n"] = case.network_grid
    reasons = {"analyze": case.without_shells, "les": Target.unknown(case)}
    left_out = {stage: reason for stage, reason in reasons.items() if reason}
    results = gather(out, resolved, case.flows, models, closures, left_out)
    pictures = draw_all(results)
    text = page(results, pictures, facts)
    drawn = [item for items in pictures.values() for item in items if isinstance(item, Drawn)]
    _write(folder, {f"{item.name}.png": item.png for item in drawn}, text)
    table = layers_of(results)
    first = table.text() if isinstance(table, Table) else f"no table of layers: {table}"
    missing = [f"missing: {gap}" for gap in results.gaps]
    return "\n".join([first, *missing, f"report: {folder / 'index.html'}"])


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


def _provenance(facts: Mapping[str, str | int], ranks: int) -> dict[str, object]:
    """The lines below the table of steps."""
    versions = json.loads(str(facts["library_versions"]))
    return {
        "case hash": facts["case_hash"],
        "report drawn by": f"eddyscope {facts['code_version']}, {ranks} rank(s)",
        "libraries": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


STAGE = Report()
