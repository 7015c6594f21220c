"""What a stage is given, and how its state is kept: skipped if done, resumed, redone or refused.

Every step of a stage records in its status file the sections of the case that decide its
result and the digests of the files it read. Called again, the step compares:
  * nothing changed: a complete step is skipped, an unfinished one goes on;
  * the case changed: refused, with the way out (`--fresh` or another `--out`);
  * only an input file changed (its stage was redone): the step is redone.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import BlewUp, CannotWrite, StoppedEarly
from eddyscope.parallel.progress import duration
from eddyscope.parallel.world import World
from eddyscope.stages.case import Case
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.disk import free_space, space_taken

__all__ = ["Job", "Step"]

SLACK = 2**17
"""Bytes of free space left for status files and the like."""

ENDINGS: dict[type[Exception], tuple[str, int]] = {
    BlewUp: ("blew up", 3),
    StoppedEarly: ("stopped early", 4),
    CaseError: ("bad input", 2),
    CannotWrite: ("failed", 1),
}
"""How a step may end early on all ranks together: its state and exit status."""


@dataclass(frozen=True)
class Step:
    """A resumable piece of work: what decides its result, what it reads, what it writes."""

    name: str
    """As in "dns.base" or "train"."""
    sections: Sequence[str]
    """Dotted keys of the case that decide the result."""
    inputs: Sequence[Path] = ()
    outputs: Sequence[Path] = ()
    """Files and folders that are the result; all exist once the step is complete."""
    scratch: Sequence[Path] = ()
    """Files and folders used on the way; removed with the outputs when the step is redone."""
    status: Path | None = None
    """Status file; by default status/<name>.json."""
    room: Mapping[Path, int] = field(default_factory=dict)
    """Bytes that outputs and scratch files will take on the disk at the most."""


@dataclass(frozen=True)
class Job:
    """A case, the ranks that work on it, and the folder that its artefacts go to."""

    case: Case
    world: World
    out: Path
    systems: Sequence[str] = ("base", "target")
    resume: bool = False
    fresh: bool = False
    measure: bool = False
    """Whether a dry run times a few steps."""

    def dataset(self, system: str) -> Path:
        return self.out / system / "dataset.h5"

    @property
    def base_model(self) -> Path:
        return self.out / "models" / "base.safetensors"

    @property
    def transfer_folder(self) -> Path:
        return self.out / "models" / "transfer"

    def provenance(self) -> dict[str, Any]:
        """Attributes that every artefact carries."""
        resolved = self.case.resolved()
        return {
            "case": json.dumps(resolved),
            "case_hash": provenance.digest(resolved),
            "case_name": self.case.name,
            "seed": self.case.seed,
            "code_version": provenance.code_version(),
            "library_versions": json.dumps(provenance.library_versions()),
        }

    def perform(self, step: Step, work: Callable[[], None]) -> None:
        """Do `work` unless `step` is already complete and unchanged. Collective."""
        with ExitStack() as held:
            self._perform(step, work, held)

    def _perform(self, step: Step, work: Callable[[], None], held: ExitStack) -> None:
        todo = self.world.on_root(lambda: self._prepare(step, held))
        if todo == "skip":
            self.world.say(f"{step.name}: complete, unchanged")
            return
        self.world.say(f"{step.name}: {todo}")
        began = time.monotonic()
        try:
            work()
        except Exception as error:
            self._record_failure(step, error)
            raise
        self.world.comm.Barrier()
        took = duration(time.monotonic() - began)
        self.world.on_root(lambda: self._record(step, "complete", 0, f"done in {took}"))

    def _lock(self, step: Step) -> BinaryIO:
        """A file that is locked until it is closed, or this program ends in any way.

        Raises CaseError if another program is at work on the step.
        """
        path = self._status_path(step).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "wb")  # noqa: SIM115 - the caller closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise CaseError(
                f"{self.out}: another program is at work on {step.name} there; wait for it, or "
                "choose another folder with --out"
            ) from None
        except OSError:
            pass  # a file system without locks: as if there were none
        return file

    def _record_failure(self, step: Step, error: Exception) -> None:
        """Not collective: the error may be of this rank alone, with the others waiting."""
        state, code = ENDINGS.get(type(error), ("failed", 1))
        words = str(error)
        if type(error) not in ENDINGS:
            words = f"rank {self.world.rank}: {type(error).__name__}: {error}"
        elif not self.world.is_root:
            return  # rank 0 has it too
        with suppress(OSError, CannotWrite):  # the error itself is what must be heard
            self._record(step, state, code, words)

    def _prepare(self, step: Step, held: ExitStack) -> str:
        """Compare with the record of an earlier call; gives "skip" or words for what is done."""
        for path in step.inputs:
            if not path.exists():
                raise CaseError(
                    f"{path}: missing, but {step.name} reads it; run the stage that makes it "
                    f"first, or `eddyscope run` for all"
                )
        wanted = self._wanted(step)
        found = None if self.fresh else _read_status(self._status_path(step))
        discard, words = self.fresh, "starting afresh" if self.fresh else "starting"
        if found is None and not self.fresh:
            if self.resume and not (self.out / "status.json").exists():
                raise CaseError(f"{self.out}: nothing to resume here; leave out --resume")
            self._refuse_strangers(step)
        if found is not None:
            changed = provenance.differences(found["sections"], wanted["sections"])
            if changed:
                raise CaseError(
                    f"{self.out} holds {step.name} of another case: {changed[0]}"
                    + (f" (and {len(changed) - 1} more)" if len(changed) > 1 else "")
                    + "; use --fresh to redo it, or --out DIR to keep both"
                )
            complete = found["state"] == "complete" and all(p.exists() for p in step.outputs)
            if complete:
                self._check_outputs(step, found.get("outputs", {}))
            discard = found["inputs"] != wanted["inputs"]
            if complete and not discard:
                return "skip"
            words = "starting afresh, since what it reads was made anew" if discard else "going on"
        for path in step.inputs:
            self._check_input(path)
        self._require_folder()
        self._require_room(step)
        held.enter_context(self._lock(step))
        # From here on there is nothing left to refuse: what is there may be changed.
        if discard:
            self._discard(step)
        self._record(step, "running", None, words)
        return words

    def _check_outputs(self, step: Step, recorded: Mapping[str, str]) -> None:
        """Raise CaseError if an output is no longer what the step made."""
        for path in step.outputs:
            name = self._name(path)
            if path.is_file() and name in recorded and self._identity(path) != recorded[name]:
                raise CaseError(
                    f"{path}: not as {step.name} made it (damaged, or changed by hand); "
                    f"redo the stage with `eddyscope {step.name.split('.')[0]} … --fresh`"
                )

    def _check_input(self, path: Path) -> None:
        """Raise CaseError for an artefact that the step could not use."""
        if self._is_dataset(path):
            Dataset(path).require(self.case.network_grid)
        elif path.suffix == ".safetensors":
            from eddyscope.artefacts.model import load_model

            load_model(path, self.case.network)

    def _is_dataset(self, path: Path) -> bool:
        return path in (self.dataset("base"), self.dataset("target"))

    def _identity(self, path: Path) -> str:
        """What a file holds: a dataset's checksums, any other file's SHA-256."""
        return Dataset(path).digest if self._is_dataset(path) else provenance.file_digest(path)

    def _require_folder(self) -> None:
        problem = ""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            if not os.access(self.out, os.W_OK | os.X_OK):
                problem = "not writable"
        except OSError as error:
            problem = error.strerror or str(error)
        if problem:
            raise CaseError(
                f"{self.out}: cannot write here ({problem}); choose another folder with --out"
            )

    def _require_room(self, step: Step) -> None:
        """Raise CaseError where the step's files would not fit on the disk."""
        # What is there already will be filled further, or removed and made anew.
        missing = sum(step.room.values()) - sum(space_taken(path) for path in step.room)
        free = free_space(self.out)
        if missing > 0 and missing + SLACK > free:
            raise CaseError(
                f"{self.out}: {step.name} will write {missing / 2**20:.1f} MiB, but only "
                f"{free / 2**20:.1f} MiB are free; free space, or choose another disk with --out"
            )

    def _wanted(self, step: Step) -> dict[str, Any]:
        resolved = self.case.resolved()
        return {
            "sections": {key: _look_up(resolved, key) for key in ("seed", *step.sections)},
            "inputs": {self._name(path): self._identity(path) for path in step.inputs},
        }

    def _name(self, path: Path) -> str:
        """`path` as seen from the output folder, so that the folder can be moved."""
        return str(path.relative_to(self.out)) if path.is_relative_to(self.out) else str(path)

    def _status_path(self, step: Step) -> Path:
        return step.status or self.out / "status" / f"{step.name}.json"

    def _record(self, step: Step, state: str, exit_status: int | None, message: str) -> None:
        record = {
            "step": step.name,
            "state": state,
            "exit_status": exit_status,
            "message": message,
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            "ranks": self.world.size,
            "code_version": provenance.code_version(),
            **self._wanted(step),
        }
        if state == "complete":
            files = [path for path in step.outputs if path.is_file()]
            record["outputs"] = {self._name(path): self._identity(path) for path in files}
        write_atomically(self._status_path(step), json.dumps(record, indent=1) + "\n")
        summary = {
            key: record[key] for key in ("step", "state", "exit_status", "message", "updated")
        }
        write_atomically(self.out / "status.json", json.dumps(summary, indent=1) + "\n")

    def _refuse_strangers(self, step: Step) -> None:
        for path in step.outputs:
            if path.exists():
                raise CaseError(
                    f"{path} exists, but there is no record of {step.name} having made it; "
                    "use --fresh to replace it, or --out DIR to keep it"
                )

    def _discard(self, step: Step) -> None:
        for path in (self._status_path(step), *step.outputs, *step.scratch):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _read_status(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        if not {"sections", "inputs", "state"} <= record.keys():
            raise ValueError("keys are missing")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise CaseError(
            f"{path}: not a readable status file ({error}); use --fresh to redo the stage"
        ) from None
    return record


def _look_up(tree: dict[str, Any], key: str) -> Any:
    node: Any = tree
    for part in key.split("."):
        node = node[part] if node is not None else None
    return node
