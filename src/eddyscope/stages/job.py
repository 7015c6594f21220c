"""What a stage is given: a case, the ranks, a folder; and how its steps are performed."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.status import Segment, States, Status, lock_file, now, write_status
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import BlewUp, CannotWrite, StoppedEarly
from eddyscope.parallel.progress import duration
from eddyscope.parallel.world import World
from eddyscope.stages.case import Case
from eddyscope.stages.review import Review, review
from eddyscope.stages.step import (
    Decisions,
    Step,
    decisions,
    digest_of,
    is_dataset,
    require_space,
    shown,
)
from eddyscope.storage.atomic import cannot_write
from eddyscope.storage.lock import take_lock

__all__ = ["Job", "Step"]

ENDINGS: dict[type[Exception], tuple[States, int]] = {
    BlewUp: ("blew up", 3),
    StoppedEarly: ("stopped early", 4),
    CaseError: ("bad input", 2),
    CannotWrite: ("failed", 1),
}
"""How a step may end early on all ranks together: its state and exit status."""


@dataclass(frozen=True)
class Job:
    """A case, the ranks that work on it, and the folder that its artefacts go to."""

    case: Case
    world: World
    out: Path
    systems: Sequence[str] = ("base", "target")
    """The systems that `dns` simulates."""
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

    def identity(self, step: Step) -> str:
        """One digest of all that decides the result of `step`: for checkpoints on the way to it.

        Collective; CaseError if an input is missing or damaged.
        """
        return self.world.on_root(lambda: decisions(step, self.case, self.out).digest)

    def review(self, step: Step) -> Review:
        """What `perform` would do about `step`. Changes nothing. Collective; CaseError as there."""
        return self.world.on_root(
            lambda: review(
                step, decisions(step, self.case, self.out), self.out, self.fresh, self.resume
            )
        )

    def perform(self, step: Step, work: Callable[[], None]) -> None:
        """Do `work` unless `step` is already complete and unchanged. Collective.

        Raises CaseError where what is there must not be touched, and whatever `work` raises.
        """
        segment = Segment.here(self.world)
        with ExitStack() as locks:
            status = self.world.on_root(lambda: self._begin(step, segment, locks))
            if status is None:
                self.world.say(f"{step.name}: complete, unchanged")
                return
            self.world.say(f"{step.name}: {status.message}")
            began = time.monotonic()
            try:
                work()
            except Exception as error:
                self._end_early(step, status, error)
                raise
            self.world.comm.Barrier()
            took = duration(time.monotonic() - began)
            self.world.on_root(lambda: self._complete(step, status, took))

    def _begin(self, step: Step, segment: Segment, locks: ExitStack) -> Status | None:
        """Refuse, skip (None), or lock the step and record that it runs. On rank 0."""
        seen = _content(step.status_file(self.out))
        wanted = decisions(step, self.case, self.out)
        found = review(step, wanted, self.out, self.fresh, self.resume)
        if found.skip:
            return None
        for path in step.inputs:
            check_input(path, self.case)
        require_folder(self.out)
        require_space(step, self.out)
        self._lock(step, locks)
        if _content(step.status_file(self.out)) != seen:
            raise CaseError(f"{self.out}: another program has just done {step.name}; call again")
        # From here on there is nothing left to refuse: what is there may be changed.
        if found.discard:
            self._discard(step)
        status = _running(step, wanted, found, segment)
        self._record(step, status)
        return status

    def _lock(self, step: Step, locks: ExitStack) -> None:
        """Until `locks` is left, other programs keep away. CaseError if one is at work."""
        path = lock_file(step.status_file(self.out))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = take_lock(path)
        except OSError as error:
            raise cannot_write(path, error) from None
        if file is None:
            raise CaseError(
                f"{self.out}: another program is at work on {step.name} there; wait for it, or "
                "choose another folder with --out"
            )
        locks.enter_context(file)

    def _end_early(self, step: Step, status: Status, error: Exception) -> None:
        """Record it. Not collective: the error may be of this rank alone, the others waiting."""
        state, code = ENDINGS.get(type(error), ("failed", 1))
        words = str(error)
        if type(error) not in ENDINGS:
            words = f"rank {self.world.rank}: {type(error).__name__}: {error}"
        elif not self.world.is_root:
            return  # rank 0 has it too
        changes = {"state": state, "exit_status": code, "message": words, "updated": now()}
        with suppress(OSError, CannotWrite):  # the error itself is what must be heard
            self._record(step, status.model_copy(update=changes))

    def _complete(self, step: Step, status: Status, took: str) -> None:
        files = [path for path in step.outputs if path.is_file()]
        changes = {
            "state": "complete",
            "exit_status": 0,
            "message": f"done in {took}",
            "updated": now(),
            "outputs": {shown(path, self.out): digest_of(path) for path in files},
        }
        self._record(step, status.model_copy(update=changes))

    def _record(self, step: Step, status: Status) -> None:
        write_status(step.status_file(self.out), status, self.out)

    def _discard(self, step: Step) -> None:
        for path in (step.status_file(self.out), *step.outputs, *step.scratch):
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from None


def _running(step: Step, wanted: Decisions, found: Review, segment: Segment) -> Status:
    return Status(
        step=step.name,
        state="running",
        exit_status=None,
        message=found.words,
        updated=now(),
        sections=dict(wanted.sections),
        inputs=dict(wanted.inputs),
        segments=[*found.segments, segment],
    )


def _content(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None


def check_input(path: Path, case: Case) -> None:
    """CaseError for an artefact that no stage could use. Not collective."""
    if is_dataset(path):
        Dataset(path).require(case.network_grid)
    elif path.suffix == ".safetensors":
        from eddyscope.artefacts.model import load_model

        load_model(path, case.network)


def require_folder(out: Path) -> None:
    """Make the output folder. CaseError where it cannot be written. Not collective."""
    problem = ""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK | os.X_OK):
            problem = "not writable"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise CaseError(f"{out}: cannot write here ({problem}); choose another folder with --out")
