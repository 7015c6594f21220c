"""Requests to stop at the next step: a signal to any rank, a file called STOP, or the clock.

    with StopRequests(world, [out, folder], settings) as requests:
        ...
        if requests.any():                    # all ranks together
            save(); raise StoppedEarly(f"at step {step}, as asked by {requests.by}")

A handler only makes a note: the ranks hear a signal at different times, or not all of
them, so what follows is decided together, between two steps. What is made while others wait outside
hears what they hear, and leaves their file to them: a stage in a study the study's.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, ClassVar, Literal

from mpi4py import MPI
from pydantic import Field

from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.units import SECONDS
from eddyscope.parallel.world import Comm, World

__all__ = ["GroupRequests", "StopRequests", "StopSettings"]

BETWEEN_LOOKS = 0.25
"""Seconds between looks for STOP files: a shared file system is not asked at every step."""


Handler = Callable[[int, FrameType | None], object] | int | None
"""What `signal.signal` takes and gives."""


class StopSettings(Section):
    """`[stop]`: what makes a run keep its state and end with exit status 4."""

    signals: Annotated[list[Literal["USR1", "USR2", "TERM", "INT"]], CHANGES_NO_RESULT] = [
        "USR1",
        "USR2",
        "TERM",
        "INT",
    ]
    """Signals that ask for it; schedulers send one ahead of the end of a job. INT is Ctrl-C; a
    second one ends the program at once."""
    seconds: Annotated[float | None, CHANGES_NO_RESULT, SECONDS] = Field(default=None, gt=0.0)
    """Wall time after which it stops by itself; by default it does not."""


class StopRequests:
    """Listens for signals while it is entered; the handlers that were there before come back after
    it. Of files called STOP in `folders`, and of those outside, it hears at any time."""

    _entered: ClassVar[list[StopRequests]] = []

    def __init__(self, world: World, folders: Sequence[Path], settings: StopSettings | None = None):
        self.world = world
        self.files = [folder / "STOP" for folder in folders]
        self.outside = self._entered[-1] if self._entered else None
        self.settings = settings or StopSettings()
        self.by = ""
        """What asked, once `any` gave True: a signal's name, the file's, or the wall time."""
        self._before: dict[signal.Signals, Handler] = {}
        self._began = time.monotonic()
        self._looked = self._began - BETWEEN_LOOKS

    def __enter__(self) -> StopRequests:
        numbers = [signal.Signals[f"SIG{name}"] for name in self.settings.signals]
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        self._entered.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.by == "SIGINT":
            raise KeyboardInterrupt
        self.by = signal.Signals(number).name
        before = getattr(self._before.get(signal.Signals(number)), "__self__", None)
        if isinstance(before, StopRequests):  # who waits outside is to hear it too
            before._note(number, frame)

    def pending(self) -> bool:
        """Whether this rank knows of a request. Not collective: agree before acting on it."""
        now = time.monotonic()
        if self.world.is_root and not self.by:
            limit = self.settings.seconds
            if limit is not None and now - self._began >= limit:
                self.by = f"stop.seconds = {limit:g}"
            elif now - self._looked >= BETWEEN_LOOKS:
                self._looked = now
                self.by = next((str(file) for file in self.files if file.exists()), "")
        if self.outside is not None and not self.by and self.outside.pending():
            self.by = self.outside.by
        return bool(self.by)

    def any(self) -> bool:
        """Whether anyone asked any rank to stop; its own files are removed. Collective."""
        self._look_at_once()
        self.pending()
        self.remove()
        asked = self.world.comm.allgather(self.by)
        self.by = next((by for by in asked if by), "")
        return bool(self.by)

    def _look_at_once(self) -> None:
        self._looked = 0.0
        if self.outside is not None:
            self.outside._look_at_once()

    def remove(self) -> None:
        """Remove its own files: they are obeyed. On the first rank; not collective."""
        if self.world.is_root:
            for file in self.files:
                with suppress(OSError):  # a folder that cannot be written is told of by who writes
                    file.unlink()


class GroupRequests:
    """The same for ranks that are dealt to groups, each at work by itself, and know of each other
    nothing: a group that is asked tells the others.

        with GroupRequests(requests, group) as heard:    # collective over all ranks
            ...
            if heard.any():                              # the ranks of this group together
                save()
                break

    Whether all groups stop in the middle of something is for each to say; leaving is collective
    over all ranks again.
    """

    def __init__(self, requests: StopRequests, group: World):
        self.requests = requests
        self.group = group
        self._notes: Comm = requests.world.comm.Dup()
        self._told: list[int] = []
        self._sent: list[MPI.Request] = []
        self._heard: list[int] = []

    @property
    def by(self) -> str:
        """What asked."""
        return self.requests.by

    def __enter__(self) -> GroupRequests:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return  # of this rank alone, perhaps: the others may never come here
        told = self._notes.allgather(self._told)
        for rank, others in enumerate(told):
            if self._notes.rank in others and rank not in self._heard:
                self._notes.recv(source=rank)
        MPI.Request.waitall(self._sent)
        self._notes.Free()
        self.requests.remove()

    def pending(self) -> bool:
        """Whether this rank knows of a request. Not collective."""
        state = MPI.Status()
        if not self.requests.by and self._notes.iprobe(status=state):
            self._heard.append(state.source)
            self.requests.by = self._notes.recv(source=state.source)
        return self.requests.pending()

    def any(self) -> bool:
        """Whether anyone asked any rank of the group to stop. Collective over the group."""
        self.pending()
        asked = self.group.comm.allgather((self.requests.by, self._notes.rank))
        self.requests.by = next((by for by, _ in asked if by), "")
        if self.requests.by and self.group.is_root and not self._told:
            inside = [rank for _, rank in asked]
            self._told = [r for r in range(self._notes.size) if r not in inside]
            self._sent = [self._notes.isend(self.requests.by, dest=r) for r in self._told]
        return bool(self.requests.by)
