"""Requests to stop at the next convenient point: a signal to any rank, or a file called STOP.

    with StopRequests(world, folder) as requests:
        ...
        if requests.any():                    # all ranks together
            save(); raise StoppedEarly(f"at step {step}, t = {t:.6g}, as asked by {requests.by}")

A handler only makes a note: the ranks hear a signal at different times, or not all of
them, so what follows is decided together, between two steps.
"""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from eddyscope.parallel.world import World

__all__ = ["StopRequests"]

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
"""What schedulers send ahead of the end of a job (USR1, USR2), and at it (TERM)."""


class StopRequests:
    """Listens while it is entered; the handlers that were there before come back after it."""

    def __init__(self, world: World, folder: Path):
        self.world = world
        self.file = folder / "STOP"
        self.by = ""
        """What asked, once `any` gave True: a signal's name, or the file's."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequests:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.by = signal.Signals(number).name

    def any(self) -> bool:
        """Whether anyone asked any rank to stop; the file is removed. Collective."""
        if self.world.is_root and self.file.exists():
            self.file.unlink()
            self.by = str(self.file)
        asked = self.world.comm.allgather(self.by)
        self.by = next((by for by in asked if by), "")
        return bool(self.by)
