"""Whose data a dataset is: what `--fresh` may replace.

Simulations can be repeated; a dataset that a user put there may be all there is of it. So
what cannot be told is taken for the user's.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.status import Status, read_status
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.stages.case import Case
from eddyscope.stages.files import shown
from eddyscope.stages.step import Decisions, Step, deciding_sections

__all__ = ["is_own"]


def is_own(step: Step, path: Path, wanted: Decisions, out: Path) -> bool:
    """Whether a dataset was made by `step` in this output folder. Not collective.

    It is if the step's record knows its digest. Where the record is of a run that was not
    completed, or damaged, the dataset itself must say that this program made it, and of which
    case: that of the record, or the wanted one.
    """
    record: Status | None = None
    with suppress(CaseError):
        record = read_status(step.status_file(out))
        if record is None:
            return False
    try:
        dataset = Dataset(path)
    except CaseError:
        return False  # unreadable, so it does not say
    if record and record.outputs.get(shown(path, out)) == dataset.digest:
        return True
    if record and record.state == "complete":
        return False
    sections = record.sections if record else wanted.sections
    return _says_so(dataset, step, dict(sections))


def _says_so(dataset: Dataset, step: Step, sections: dict[str, object]) -> bool:
    """Whether a dataset's attributes are those that `step` of a case with these `sections` has
    written."""
    if dataset.attributes.get("case_hash") != provenance.digest(dataset.case):
        return False
    try:
        case = Case.model_validate(dataset.case)
    except (ValidationError, CaseError):
        return False  # of another version
    return step.name == f"dns.{dataset.system}" and deciding_sections(step, case) == sections
