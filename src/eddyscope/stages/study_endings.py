"""How the things of a study ended: what was made, what failed, what another program has in hand."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from eddyscope.parallel.attempt import Outcome
from eddyscope.parallel.progress import duration
from eddyscope.parallel.world import World
from eddyscope.stages.study_job import Item

__all__ = ["STOPPED", "Endings", "Found", "Waiting", "line"]

STOPPED = 4
"""Status of what was asked to stop."""

AGAIN = "; call again to go on"
"""What a stage that was stopped ends its words with; the study says it once for all."""

PATIENCE = 120.0
"""Seconds to wait for another program that is at work, since it last completed something."""

PAUSE = 2.0
"""Seconds between looks."""

Found = tuple[str, str, Outcome]
"""Id of a thing, what it is in words, and how it ended."""


@dataclass
class Endings:
    """On all ranks alike."""

    of: dict[str, tuple[str, Outcome]] = field(default_factory=dict)
    """Id -> what was tried, in words, and how it ended."""
    stopped: str = ""
    """What asked to stop; empty for nothing."""

    def add(self, found: Iterable[Found]) -> None:
        for id, words, outcome in found:
            if outcome.status == STOPPED:
                self.stopped = self.stopped or outcome.words.removesuffix(AGAIN)
            else:
                self.of[id] = (words, outcome)

    def is_open(self, item: Item) -> bool:
        """Whether there may be something to do: it was not tried, or left to another program."""
        return item.id not in self.of or self.of[item.id][1].left

    def hindering(self, item: Item) -> Outcome | None:
        """What becomes of a thing since something that it needs is not there; None if all is."""
        needed = [self.of[need] for need in item.needs if need in self.of]
        for words, outcome in needed:
            if outcome.status and not outcome.left:
                return Outcome(outcome.status, f"left out, since this failed: {words}")
        for words, outcome in needed:
            if outcome.left:
                return Outcome(outcome.status, f"left, since it needs {words}", left=True)
        return None

    @property
    def left(self) -> list[str]:
        """What was left to another program, in words."""
        return [words for words, outcome in self.of.values() if outcome.left]

    def failed(self) -> tuple[int, list[str]]:
        """Exit status, and a line for each thing that failed."""
        failed = [(words, o) for words, o in self.of.values() if o.status and not o.left]
        status = STOPPED if self.stopped else next((o.status for _, o in failed), 0)
        return status, [f"{words}: {outcome.words}" for words, outcome in failed]


@dataclass
class Waiting:
    """For another program to do what was left to it."""

    least: float = math.inf
    """Things that were left, at the last look that found fewer of them."""
    since: float = 0.0
    """When that was."""

    def is_over(self, left: int, world: World) -> bool:
        """Whether it has done nothing for `PATIENCE`; else pauses. left: things that are left to it
        now. Collective."""
        if left < self.least:
            self.least, self.since = left, time.monotonic()
        over = world.on_root(lambda: time.monotonic() - self.since > PATIENCE)
        if not over:
            time.sleep(PAUSE)
        return over


def line(kind: str, item: Item, outcome: Outcome, seconds: float) -> str:
    """What is said of a thing that was tried."""
    ending = f"took {duration(seconds)}"
    if outcome.left:
        ending = "left to another program, which is at work on it or on what it needs"
    elif outcome.status:
        ending = f"not done: {outcome.line}"
    return f"study: {kind}: {item.words}: {ending}"
