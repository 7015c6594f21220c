"""Requests to stop at the next step: a signal to any rank, a file called STOP, or the clock.

    with StopRequests(world, folder, settings) as requests:
        ...
        if requests.any():                    # all ranks together
            save(); raise StoppedEarly(f"at step {step}, as asked by {requests.by}")

A handler only makes a note: the ranks hear a signal at different times, or not all of
them, so what follows is decided together, between two steps.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

from pydantic import Field

from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.units import SECONDS
from eddyscope.parallel.world import World

__all__ = ["StopRequests", "StopSettings"]

BETWEEN_LOOKS = 0.25
"""Seconds between looks for the STOP file: a shared file system is not asked at every step."""


Handler = Callable[[int, FrameType | None], object] | int | None
"""What `signal.signal` takes and gives."""


class StopSettings(Section):
    """`[stop]`: what makes a run keep its state and end with exit status 4."""

    signals: Annotated[list[Literal["USR1", "USR2", "TERM", "INT"]], CHANGES_NO_RESULT] = [
        "USR1",
        "USR2",
        "TERM",
    ]
    """Signals that ask for it; schedulers send one ahead of the end of a job."""
    seconds: Annotated[float | None, CHANGES_NO_RESULT, SECONDS] = Field(default=None, gt=0.0)
    """Wall time after which it stops by itself; by default it does not."""


class StopRequests:
    """Listens while it is entered; the handlers that were there before come back after it."""

    def __init__(self, world: World, folder: Path, settings: StopSettings | None = None):
        self.world = world
        self.file = folder / "STOP"
        self.settings = settings or StopSettings()
        self.by = ""
        """What asked, once `any` gave True: a signal's name, the file's, or the wall time."""
        self._before: dict[signal.Signals, Handler] = {}
        self._began = time.monotonic()
        self._looked = self._began - BETWEEN_LOOKS

    def __enter__(self) -> StopRequests:
        numbers = [signal.Signals[f"SIG{name}"] for name in self.settings.signals]
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
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
                if self.file.exists():
                    self.by = str(self.file)
        return bool(self.by)

    def any(self) -> bool:
        """Whether anyone asked any rank to stop; the file is removed. Collective."""
        self._looked = 0.0
        self.pending()
        if self.world.is_root:
            self.file.unlink(missing_ok=True)
        asked = self.world.comm.allgather(self.by)
        self.by = next((by for by in asked if by), "")
        return bool(self.by)
