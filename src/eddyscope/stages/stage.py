"""What a stage is, and in which order `run` goes through them.

A stage wires rooms together and hands its results on as files. Its module `stages/<name>.py`
ends with the one object that the command line uses:

    STAGE = Train()

Before anything starts, the plans of all stages that will run are made on all ranks. So `plan`
raises CaseError for everything that `run` would refuse and that is known without the results
of earlier stages; a case that a late stage cannot do costs no simulation.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol

from eddyscope.stages.job import Job

__all__ = ["STAGES", "Stage", "load_stages"]

STAGES = ("dns", "train", "advise", "transfer", "evaluate", "les", "analyze", "report")
"""Names, in the order in which `run` goes through them."""


class Stage(Protocol):
    """A piece of the program that the command line can call."""

    name: str
    """As on the command line."""
    summary: str
    """What it does, in half a sentence, for `--help`."""

    def plan(self, job: Job) -> list[str]:
        """What `run` would do and what it costs, a line each. Nothing is written.

        Collective. Raises CaseError for everything that `run` would refuse.
        """

    def run(self, job: Job) -> None:
        """Do it, unless it is done. Collective. Raises CaseError and what ends the program."""


def load_stages(names: Sequence[str]) -> list[Stage]:
    """The stages of these names. Imports their modules."""
    modules = [importlib.import_module(f"eddyscope.stages.{name}") for name in names]
    return [module.STAGE for module in modules]
