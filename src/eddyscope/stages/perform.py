"""How steps are performed: reviewed, locked, recorded before and after the work."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eddyscope.artefacts.status import Segment, States, Status, lock_file, now, write_status
from eddyscope.config.errors import AtWork, CaseError
from eddyscope.config.files import read_file
from eddyscope.parallel.failure import BlewUp, CannotWrite, StoppedEarly, known_to_all
from eddyscope.parallel.processors import words
from eddyscope.parallel.progress import duration
from eddyscope.parallel.stop import StopRequests
from eddyscope.parallel.world import World
from eddyscope.stages.case import Case
from eddyscope.stages.files import check_input, digest_of, shown
from eddyscope.stages.review import AFRESH, Review, review
from eddyscope.stages.step import Step, decisions
from eddyscope.stages.work import Work
from eddyscope.storage.atomic import cannot_write
from eddyscope.storage.disk import require_folder, require_space
from eddyscope.storage.lock import is_locked, take_lock

__all__ = ["Performance", "perform"]

ENDINGS: dict[type[Exception], tuple[States, int]] = {
    BlewUp: ("blew up", 3),
    StoppedEarly: ("stopped early", 4),
    CaseError: ("bad input", 2),
    CannotWrite: ("failed", 1),
}
"""How a step may end early on all ranks together: its state and exit status."""


@dataclass(frozen=True)
class Performance:
    """One step of a case, in an output folder."""

    step: Step
    case: Case
    out: Path
    fresh: bool
    """Whether what is there is discarded."""
    resume: bool
    """Whether there must be something to go on with."""

    def review(self) -> Review:
        """What would be done. Changes nothing. Not collective. CaseError where it is refused."""
        self._require_named_safe()
        wanted = decisions(self.step, self.case, self.out)
        return review(self.step, wanted, self.out, self.fresh, self.resume)

    def foresee(self, coming: Collection[Path]) -> Review:
        """What will be done once the files `coming` are made anew. Not collective.

        Changes nothing. CaseError for all that `begin` would refuse and that is known now.
        """
        there = [path for path in self.step.inputs if path not in coming]
        waits = len(there) < len(self.step.inputs)
        found = replace(self, step=replace(self.step, inputs=there)).review()
        if found.skip and not waits:
            return found
        for path in there:
            check_input(path, self.case)
        require_space(self.step.name, self.step.sizes, self.out)
        if is_locked(lock_file(self._record)):
            raise self._busy()
        if waits and (found.skip or found.segments or found.discard) and not self.fresh:
            words = f"{AFRESH.format('is')} (unless that comes out the same)"
            return replace(found, words=words, skip=False, discard=True)
        return found

    def begin(self, segment: Segment, locks: ExitStack) -> Status | None:
        """Refuse, skip (None), or lock the step and record that it runs. On rank 0."""
        seen = _content(self._record)
        found = self.review()
        if found.skip:
            return None
        for path in self.step.inputs:
            check_input(path, self.case)
        require_folder(self.out)
        require_space(self.step.name, self.step.sizes, self.out)
        self._lock(locks)
        if _content(self._record) != seen:
            raise AtWork(f"{self.out}: another program has just done {self.step.name}; call again")
        # From here on there is nothing left to refuse: what is there may be changed.
        if found.discard:
            self._discard()
        status = _running(self.step, found, segment)
        self._write(status)
        return status

    def _require_named_safe(self) -> None:
        """CaseError if a file that the case names is among what the step writes or discards."""
        for path in (*self.step.outputs, *self.step.scratch):
            for named in self.case.named_files:
                if named.is_relative_to(path.resolve()):
                    raise CaseError(
                        f"{named}: the case names it, but {self.step.name} would write it, or "
                        f"discard it with {path}; choose another folder with --out, or move it"
                    )

    @property
    def _record(self) -> Path:
        return self.step.status_file(self.out)

    def _lock(self, locks: ExitStack) -> None:
        """Until `locks` is left, other programs keep away. CaseError if one is at work."""
        path = lock_file(self._record)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = take_lock(path)
        except OSError as error:
            raise cannot_write(path, error) from None
        if file is None:
            raise self._busy()
        locks.enter_context(file)

    def _busy(self) -> AtWork:
        return AtWork(
            f"{self.out}: another program is at work on {self.step.name} there; wait for it, "
            "or choose another folder with --out"
        )

    def end_early(self, status: Status, error: Exception, world: World) -> None:
        """Record it. Not collective: the error may be of this rank alone, the others waiting."""
        state, code = ENDINGS.get(type(error), ("failed", 1))
        words = str(error)
        if type(error) not in ENDINGS:
            words = f"rank {world.rank}: {type(error).__name__}: {error}"
        elif not world.is_root:
            return  # rank 0 has it too
        changes = {"state": state, "exit_status": code, "message": words, "updated": now()}
        with suppress(OSError, CannotWrite):  # the error itself is what must be heard
            self._write(status.model_copy(update=changes))

    def complete(self, status: Status, took: str) -> None:
        """Record it, with what was made beside what was kept. On rank 0."""
        files = [path for path in self.step.outputs if path.is_file()]
        made = {shown(path, self.out): digest_of(path) for path in files}
        changes = {
            "state": "complete",
            "exit_status": 0,
            "message": f"done in {took}",
            "updated": now(),
            "outputs": {**status.outputs, **made},
        }
        self._write(status.model_copy(update=changes))

    def _write(self, status: Status) -> None:
        write_status(self._record, status, self.out)

    def _discard(self) -> None:
        for path in (self._record, *self.step.outputs, *self.step.scratch):
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from None


def perform(performances: Sequence[Performance], work: Work, world: World) -> None:
    """Do `work` for those steps that are not complete and unchanged, and say what computes it.
    Collective.

    Raises CaseError where what is there must not be touched, StoppedEarly where a file STOP in the
    output folder asks for it before the work, and whatever `work` raises.
    """
    first = performances[0]
    requests = StopRequests(world, [first.out])
    if requests.any():
        asked = f"before {first.step.name}, as asked by {requests.by}; call again to go on"
        raise known_to_all(world.comm, StoppedEarly(asked))
    segment = Segment.here(world)
    with ExitStack() as locks:
        begun = world.on_root(lambda: [each.begin(segment, locks) for each in performances])
        pending: list[tuple[Performance, Status]] = []
        for each, status in zip(performances, begun, strict=True):
            if status is not None or not each.step.is_shared:
                told = status.message if status else "complete, unchanged"
                world.say(f"{each.step.name}: {told}")
            if status is not None:
                pending.append((each, status))
        if not pending:
            return
        if work.computing is not None:
            name = pending[0][0].step.name.partition(".")[0]
            world.say("\n".join(f"{name}: {line}" for line in words(world, work.computing)))
        began = time.monotonic()
        try:
            work.do([each.step for each, _ in pending])
        except Exception as error:
            for each, status in pending:
                each.end_early(status, error, world)
            raise
        world.comm.Barrier()
        took = duration(time.monotonic() - began)

        def complete() -> None:
            for each, status in pending:
                each.complete(status, took)

        world.on_root(complete)


def _running(step: Step, found: Review, segment: Segment) -> Status:
    return Status(
        step=step.name,
        state="running",
        exit_status=None,
        message=found.words,
        updated=now(),
        sections=dict(found.wanted.sections),
        inputs=dict(found.wanted.inputs),
        outputs=dict(found.outputs),
        segments=[*found.segments, segment],
    )


def _content(path: Path) -> bytes | None:
    with suppress(OSError):
        return read_file(path)
    return None
