"""What a stage is, and in which order `run` goes through them.

A stage wires rooms together and hands its results on as files. Its module `stages/<name>.py`
ends with the one object that the command line uses:

    STAGE = Train()

Before anything starts, the plans of all stages that will run are made on all ranks, and their
steps are compared with what the output folder holds (`plan_all`). So everything is refused then
that is known without the results of earlier stages; a case that a late stage cannot do costs no
simulation.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path

from eddyscope.stages.job import Job, Work
from eddyscope.stages.outlook import Outlook

__all__ = ["STAGES", "Stage", "load_stages", "plan_all", "stages_of_run"]

STAGES = ("dns", "train", "advise", "transfer", "evaluate", "les", "analyze", "report")
"""Names, in the order in which `run` goes through them."""


class Stage(ABC):
    """A piece of the program that the command line can call."""

    name: str
    """As on the command line."""
    summary: str
    """What it does, in half a sentence, for `--help`."""

    @abstractmethod
    def plan(self, job: Job) -> list[str]:
        """What it costs, a line each. Nothing is written.

        Collective. Raises CaseError for everything that the case alone makes impossible.
        """

    @abstractmethod
    def works(self, job: Job, coming: Collection[Path] = ()) -> list[Work]:
        """Its steps, in order, and how they are done. Collective. Raises CaseError.

        coming: files that earlier stages of the same command will make anew.
        """

    def notes(self, job: Job) -> list[str]:
        """What the stage does not do, since the case names it or its data do not allow it; a line
        each."""
        return []

    def left_out(self, job: Job) -> str:
        """Why `run` goes on without this stage; empty where it does not. The case did not ask for
        it by name, and called alone it is refused."""
        return ""

    def run(self, job: Job) -> None:
        """Do it, unless it is done. Collective. Raises CaseError and what ends the program."""
        for line in self.notes(job):
            job.world.say(f"{self.name}: {line}")
        job.do(self.works(job))


def stages_of_run(job: Job) -> list[Stage]:
    """All stages but those that a case cannot have and does not ask for, which is said. CaseError
    as for each. Collective."""
    stages = []
    for stage in load_stages(STAGES):
        reason = stage.left_out(job)
        if reason:
            job.world.say(f"{stage.name}: left out, {reason}")
        else:
            stages.append(stage)
    return stages


def plan_all(stages: Sequence[Stage], job: Job) -> list[list[str]]:
    """For each stage what would become of its steps, and what they cost, a line each.

    Writes nothing. Collective. Raises CaseError for everything that running the stages one after
    the other would refuse, as far as it can be known.
    """
    costs = [stage.plan(job) for stage in stages]
    plans, before = [], Outlook()
    for stage, cost in zip(stages, costs, strict=True):
        outlook = job.foresee(stage.works(job, before.coming), before)
        plans.append([*outlook.lines(before), *stage.notes(job), *cost])
        before = outlook
    return plans


def load_stages(names: Sequence[str]) -> list[Stage]:
    """The stages of these names. Imports their modules."""
    modules = [importlib.import_module(f"eddyscope.stages.{name}") for name in names]
    return [module.STAGE for module in modules]
