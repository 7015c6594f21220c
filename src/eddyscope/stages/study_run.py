"""How a study is done: each kind of work in turn, dealt to groups of ranks, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eddyscope.parallel.attempt import Outcome, attempt
from eddyscope.parallel.failure import any_true
from eddyscope.parallel.output import write
from eddyscope.parallel.stop import StopRequests
from eddyscope.parallel.work import deal
from eddyscope.parallel.world import World
from eddyscope.stages.job import Job
from eddyscope.stages.stage import load_stages, plan_all
from eddyscope.stages.study_endings import STOPPED, Endings, Found, Waiting, line
from eddyscope.stages.study_job import Item, job_of
from eddyscope.study.axes import Study
from eddyscope.study.plan import Cell, Plan, share_of
from eddyscope.study.tables import mark_complete

__all__ = ["Run"]


@dataclass
class Run:
    """A study in an output folder, on some ranks."""

    plan: Plan
    study: Study
    out: Path
    world: World
    part: tuple[int, int] = (1, 1)
    """Which share of the work, of how many."""
    fresh: bool = False
    """Whether cells that are there are redone."""
    tables: Callable[[World], None] = lambda _: None
    """Called when a cell is complete, on the group that made it; collective over the group."""
    endings: Endings = field(default_factory=Endings)
    began: float = field(default_factory=time.monotonic)

    def do(self, kinds: Sequence[str]) -> None:
        """Do these kinds of work in turn: "dns" on all ranks together, "train" and "cells" dealt to
        groups. Then come back to what was left to another program, until that has done nothing for
        `PATIENCE`. Collective."""
        endings, waiting = self.endings, Waiting()
        with StopRequests(self.world, [self.out], self.study.stop) as requests:
            while True:
                for kind in kinds:
                    if not endings.stopped:
                        self._do(kind)
                left = len(endings.left)
                if endings.stopped or not left or waiting.is_over(left, self.world):
                    return
                if requests.any():
                    endings.stopped = f"by {requests.by}"

    def _do(self, kind: str) -> None:
        """Do what is open of a kind. Collective."""
        items = [item for item in self._share(kind) if self.endings.is_open(item)]
        if not items and self.part != (1, 1) and not self.endings.of:
            index, parts = self.part
            self.world.say(f"study: {kind}: there is nothing for part {index} of {parts}")
        groups = 1 if kind == "dns" else max(1, min(self.world.size, len(items)))
        group, index = self.world.split(groups)
        quiet = World(group.comm, quiet=groups > 1 or kind == "cells")
        found: list[Found] = []
        stop = self.study.stop.model_copy(update={"seconds": self._left()})
        with StopRequests(group, [self.out], stop) as requests:
            for item in items[index::groups]:
                if any_true(group.comm, requests.pending()):
                    found.append((item.id, item.words, Outcome(STOPPED, f"by {requests.by}")))
                    break
                began = time.monotonic()
                outcome = self._try(item, quiet)
                found.append((item.id, item.words, outcome))
                if group.is_root and not (outcome.left and item.id in self.endings.of):
                    write(line(kind, item, outcome, time.monotonic() - began))
                if isinstance(item, Cell) and not outcome.status:
                    self.tables(group)
                if outcome.status == STOPPED:
                    break
        everyone = self.world.comm.allgather(found if group.is_root else [])
        group.comm.Free()
        self.endings.add(each for one in everyone for each in one)

    def _share(self, kind: str) -> Sequence[Item]:
        """What this program does of a kind."""
        index, parts = self.part
        if kind == "dns":
            return share_of(self.plan.systems, parts, index - 1)
        if kind == "train":
            return share_of(self.plan.trainings, parts, index - 1)
        return deal(self.plan.in_turns, parts, index - 1)

    def _left(self) -> float | None:
        """Seconds until the study is to stop by itself; None where it is not."""
        if self.study.stop.seconds is None:
            return None
        return max(self.study.stop.seconds - (time.monotonic() - self.began), 1e-3)

    def _try(self, item: Item, group: World) -> Outcome:
        """Do one thing, unless what it needs has failed. Collective over the group."""
        hindered = self.endings.hindering(item)
        if hindered is not None:
            return hindered
        return attempt(group, lambda: self._make(item, group))

    def _make(self, item: Item, group: World) -> None:
        names, job = job_of(item, self.out, group, self.study.advise, self._left())
        stages = load_stages(names)
        if isinstance(item, Cell) and self.fresh:
            job = Job(job.case, group, job.out, fresh=True)
        plan_all(stages, job)
        for stage in stages:
            stage.run(job)
        if isinstance(item, Cell):
            group.on_root(lambda: mark_complete(item, self.out))
