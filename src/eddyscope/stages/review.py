"""What is to be done about a step, given what an earlier call has left: skip, go on, redo, refuse.

Every step records in its status file what decides its result: sections of the case, and
digests of the files it reads. Called again, that is compared:
  * nothing changed: a complete step is skipped, an unfinished one goes on;
  * the case changed: refused, with the way out (`--fresh` or another `--out`);
  * only an input file changed (its stage was redone): the step is redone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eddyscope.artefacts.status import Segment, Status, read_status
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.stages.step import Decisions, Step, digest_of, shown

__all__ = ["Review", "review"]


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


def review(step: Step, wanted: Decisions, out: Path, fresh: bool, resume: bool) -> Review:
    """Compare with the record of an earlier call. Changes nothing. Not collective.

    CaseError where what is there is of another case, damaged, or not of this program.
    """
    if fresh:
        return Review("starting afresh", wanted, discard=True)
    found = read_status(step.status_file(out))
    if found is None:
        if resume and not (out / "status.json").exists():
            raise CaseError(f"{out}: nothing to resume here; leave out --resume")
        _refuse_strangers(step)
        return Review("starting", wanted)
    _refuse_another_case(step, found, wanted, out)
    complete = found.state == "complete" and all(path.exists() for path in step.outputs)
    if complete:
        _refuse_changed_outputs(step, found, out)
    if found.inputs != dict(wanted.inputs):
        return Review("starting afresh, since what it reads was made anew", wanted, discard=True)
    if complete:
        return Review("complete, unchanged", wanted, skip=True)
    words = "going on after an interruption" if found.state == "interrupted" else "going on"
    return Review(words, wanted, segments=tuple(found.segments))


def _refuse_another_case(step: Step, found: Status, wanted: Decisions, out: Path) -> None:
    changed = provenance.differences(found.sections, dict(wanted.sections))
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise CaseError(
            f"{out} holds {step.name} of another case: {changed[0]}{more}; "
            "use --fresh to redo it, or --out DIR to keep both"
        )


def _refuse_changed_outputs(step: Step, found: Status, out: Path) -> None:
    """CaseError if an output is no longer what the step made."""
    for path in step.outputs:
        recorded = found.outputs.get(shown(path, out))
        if path.is_file() and recorded is not None and digest_of(path) != recorded:
            raise CaseError(
                f"{path}: not as {step.name} made it (damaged, or changed by hand); "
                f"redo the stage with `eddyscope {step.name.split('.')[0]} … --fresh`"
            )


def _refuse_strangers(step: Step) -> None:
    for path in step.outputs:
        if path.exists():
            raise CaseError(
                f"{path} exists, but there is no record of {step.name} having made it; "
                "use --fresh to replace it, or --out DIR to keep it"
            )
