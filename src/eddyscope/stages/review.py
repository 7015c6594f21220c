"""What is to be done about a step, given what an earlier call has left: skip, go on, redo, refuse.

Every step records in its status file what decides its result: sections of the case, and
digests of the files it reads. Called again, that is compared:
  * nothing changed: a complete step is skipped, an unfinished one goes on;
  * the case changed: refused, with the way out (`--fresh` or another `--out`);
  * only an input file changed (its stage was redone): the step is redone;
  * it is to have outputs that it had not: what is there is kept, and it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eddyscope.artefacts.status import Segment, Status, read_status
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.stages.files import digest_of, is_dataset, shown
from eddyscope.stages.owner import is_own
from eddyscope.stages.step import Decisions, Step

__all__ = ["AFRESH", "Review", "review"]

AFRESH = "starting afresh, since what it reads {} made anew"


@dataclass(frozen=True)
class Review:
    """What is to be done, in words, and what becomes of what is there."""

    words: str
    wanted: Decisions
    """What decides the result now."""
    skip: bool = False
    discard: bool = False
    """Whether what is there is removed first."""
    segments: tuple[Segment, ...] = ()
    """Who worked on what is kept."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """File -> digest of what is kept, as recorded."""


def review(step: Step, wanted: Decisions, out: Path, fresh: bool, resume: bool) -> Review:
    """Compare with the record of an earlier call. Changes nothing. Not collective.

    CaseError where what is there is of another case, damaged, or not of this program.
    """
    if fresh:
        _refuse_to_discard(step, wanted, out)
        return Review("starting afresh", wanted, discard=True)
    found = read_status(step.status_file(out))
    if found is None:
        if resume and not (out / "status.json").exists():
            raise CaseError(f"{out}: nothing to resume here; leave out --resume")
        for path in step.outputs:
            _refuse_stranger(step, path)
        return Review("starting", wanted)
    _refuse_another_case(step, found, wanted, out)
    if found.state == "complete":
        _refuse_changed_outputs(step, found, out)
    if list(found.inputs.values()) != wanted.contents:
        return Review(AFRESH.format("was"), wanted, discard=True)
    if found.state == "complete" and all(path.exists() for path in step.outputs):
        return Review("complete, unchanged", wanted, skip=True)
    words = "going on after an interruption" if found.state == "interrupted" else "going on"
    return Review(words, wanted, segments=tuple(found.segments), outputs=found.outputs)


def _refuse_to_discard(step: Step, wanted: Decisions, out: Path) -> None:
    """CaseError if an output is a dataset that this step has not made: data that a user put there
    may be all there is of it."""
    for path in step.outputs:
        if is_dataset(path) and path.exists() and not is_own(step, path, wanted, out):
            raise CaseError(
                f"{path}: neither this dataset nor a record tells that {step.name} has made it, so "
                "--fresh does not replace it; move it away, or choose another folder with --out"
            )


def _refuse_another_case(step: Step, found: Status, wanted: Decisions, out: Path) -> None:
    changed = provenance.differences(found.sections, dict(wanted.sections))
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise CaseError(
            f"{out} holds {step.name} of another case: {changed[0]}{more}; "
            f"use --fresh to redo it, as in {step.redo} (with "
            "`run`, --fresh redoes all stages), or --out DIR to keep both"
        )


def _refuse_changed_outputs(step: Step, found: Status, out: Path) -> None:
    """CaseError if an output is no longer what the step made when it was complete, or was put
    there by someone else."""
    for path in step.outputs:
        recorded = found.outputs.get(shown(path, out))
        if recorded is None:
            _refuse_stranger(step, path)
        elif path.is_file() and digest_of(path) != recorded:
            raise CaseError(
                f"{path}: not as {step.name} made it (damaged, or changed by hand); "
                f"redo the stage with {step.redo}"
            )


def _refuse_stranger(step: Step, path: Path) -> None:
    if path.exists():
        raise CaseError(
            f"{path} exists, but there is no record of {step.name} having made it; "
            + (
                "move it away (--fresh does not replace it), or choose another with --out"
                if is_dataset(path)
                else "use --fresh to replace it, or --out DIR to keep it"
            )
        )
