"""Status of a step: how far it is, what decides its result, who worked on it. Layout, read, write.

<system>/status.json and status/<step>.json, written by rank 0:

    step         "dns.base", "train", …
    state        one of `States`
    exit_status  the program's; null while it runs
    message      a line for people
    updated      when this was written (UTC)
    sections     {dotted key: what the case says there}, of all that decides the result
    inputs       {file: digest} of what is read
    outputs      {file: digest} of what was made, once it is complete
    segments     one entry a time that the program worked on it: began (UTC), ranks,
                 threads (of a rank), code_version

status.json above them is of the step that was last at work: step, state, exit_status,
message, updated, and `record`, its status file.

A program that is killed has no time to say so, and one on a full disk no room: both leave
"running". While a program is at work it holds a lock beside the status file, so a reader can
tell, and reads "interrupted".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from eddyscope.artefacts.json_part import fault
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.config.files import read_file
from eddyscope.parallel.threads import threads_of_a_rank
from eddyscope.parallel.world import World
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.lock import is_locked

__all__ = ["Segment", "Status", "lock_file", "now", "read_last", "read_status", "write_status"]

States = Literal[
    "running", "interrupted", "complete", "stopped early", "blew up", "bad input", "failed"
]


class _Record(BaseModel):
    """Written by this program and read again; keys that later versions add are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Segment(_Record):
    """One time that the program worked on a step."""

    began: str
    ranks: int
    threads: int
    """Of a rank. Sums of weights depend on it, and on the ranks, in their last bits."""
    code_version: str

    @classmethod
    def here(cls, world: World) -> Segment:
        """This program, now. Collective."""
        return cls(
            began=now(),
            ranks=world.size,
            threads=threads_of_a_rank(world),
            code_version=provenance.code_version(),
        )


class Status(_Record):
    """What a status file says; see the module."""

    step: str
    state: States
    exit_status: int | None
    message: str
    updated: str
    sections: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str] = {}
    segments: list[Segment] = []

    @property
    def ranks(self) -> str:
        """Rank counts in the order in which they worked on the step: "2" or "2, then 1"."""
        counts = [segment.ranks for segment in self.segments]
        changes = [str(n) for n, before in zip(counts, [0, *counts], strict=False) if n != before]
        return ", then ".join(changes)

    @property
    def code_version(self) -> str:
        """Of the program that worked on the step last."""
        return self.segments[-1].code_version if self.segments else "not recorded"


class LastStep(_Record):
    """What status.json says of the step that was last at work."""

    step: str
    state: States
    exit_status: int | None
    message: str
    updated: str
    record: str
    """Its status file, as seen from the output folder."""


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def lock_file(path: Path) -> Path:
    """The lock that a program holds while it is at work on the step of a status file."""
    return path.with_suffix(".lock")


def read_status(path: Path) -> Status | None:
    """The status at `path`, None if there is none. CaseError if it is damaged. Not collective."""
    text = _read(path)
    if text is None:
        return None
    try:
        found = Status.model_validate_json(text)
    except ValidationError as error:
        raise CaseError(_unreadable(path, error)) from None
    return found.model_copy(update={"state": _state(found.state, path)})


def read_last(out: Path) -> LastStep | None:
    """What was last at work in an output folder; as `read_status`."""
    path = out / "status.json"
    text = _read(path)
    if text is None:
        return None
    try:
        found = LastStep.model_validate_json(text)
    except ValidationError as error:
        raise CaseError(_unreadable(path, error)) from None
    return found.model_copy(update={"state": _state(found.state, out / found.record)})


def write_status(path: Path, status: Status, out: Path) -> None:
    """Replace a step's status, and the last step's in `out`. Not collective. Raises CannotWrite."""
    _write(path, status)
    facts = {name: getattr(status, name) for name in LastStep.model_fields if name != "record"}
    _write(out / "status.json", LastStep(**facts, record=str(path.relative_to(out))))


def _write(path: Path, record: _Record) -> None:
    write_atomically(path, json.dumps(record.model_dump(mode="json"), indent=1) + "\n")


def _read(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error.strerror})") from None


def _state(state: States, path: Path) -> States:
    """ "interrupted" in place of "running" where no program is at work."""
    gone = state == "running" and is_locked(lock_file(path)) is False
    return "interrupted" if gone else state


def _unreadable(path: Path, error: ValidationError) -> str:
    return f"{path}: not a readable status file ({fault(error)}); use --fresh to redo the stage"
