"""What a stage is given: a case, the ranks that work on it, and the output folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eddyscope.artefacts.dataset.reader import Source
from eddyscope.artefacts.key import ModelKey
from eddyscope.config import provenance
from eddyscope.parallel.world import World
from eddyscope.stages.case import SYSTEMS, Case
from eddyscope.stages.outlook import Outlook
from eddyscope.stages.perform import Performance, perform
from eddyscope.stages.review import Review
from eddyscope.stages.step import Step, decisions
from eddyscope.stages.work import Work, by_networks, by_solver

__all__ = ["Job", "Step", "Work", "by_networks", "by_solver"]


@dataclass(frozen=True)
class Job:
    """A case, the ranks that work on it, and the folder that its artefacts go to."""

    case: Case
    world: World
    out: Path
    systems: Sequence[str] = SYSTEMS
    """Those that `dns` simulates."""
    resume: bool = False
    fresh: bool = False
    measure: bool = False
    """Whether a dry run times a few steps."""

    def dataset(self, system: str) -> Path:
        """A system's dataset: that which the case names, or the one that `dns` makes."""
        found = self.case.named.get(system)
        return found.path if found else self.out / system / "dataset.h5"

    @property
    def simulated(self) -> list[str]:
        """Those of `systems` whose datasets the case does not name."""
        return [system for system in self.systems if system not in self.case.named]

    def source(self, system: str) -> Source:
        """A system's dataset, split as the case says. CaseError if it has no such system."""
        return Source(self.dataset(system), self.case.system(system).ensemble)

    @property
    def base_model(self) -> Path:
        """The base model: that which the case names, or the one that `train` makes."""
        named = self.case.training.model
        return Path(named) if named else self.out / "models" / "base.safetensors"

    @property
    def models(self) -> Path:
        """Folder of all models."""
        return self.out / "models"

    @property
    def transfer_folder(self) -> Path:
        return self.models / "transfer"

    def model(self, key: ModelKey) -> Path:
        """A model's file."""
        return self.base_model if key.is_base else key.path(self.models)

    def normalisation(self, system: str) -> Path:
        """Statistics of a system's training samples, which `stages/normalise.py` makes."""
        return self.out / "normalisation" / f"{system}.json"

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
        return self.world.on_root(self._performance(step).review)

    def foresee(self, works: Sequence[Work], before: Outlook = Outlook()) -> Outlook:  # noqa: B008
        """What `do` would make of these works, after what is foreseen `before`. Changes nothing.
        Collective; CaseError for all that `do` would refuse and that is known."""
        steps = [step for work in works for step in work.steps]

        def look() -> Outlook:
            outlook = before
            for step in steps:
                if step.name not in outlook.words:
                    outlook = outlook.with_step(
                        step, self._performance(step).foresee(outlook.coming)
                    )
            return outlook

        return self.world.on_root(look)

    def do(self, works: Sequence[Work]) -> None:
        """Do what is not complete, one work after the other, unless any of it is refused.

        Collective. Raises CaseError before anything is changed where what is there must not be
        touched, and whatever the works raise.
        """
        self.foresee(works)
        for work in works:
            perform([self._performance(step) for step in work.steps], work, self.world)

    def perform(self, step: Step, work: Callable[[], None]) -> None:
        """Do `work` unless `step` is already complete and unchanged. Collective; as `do`."""
        perform([self._performance(step)], Work([step], lambda _: work()), self.world)

    def _performance(self, step: Step) -> Performance:
        return Performance(step, self.case, self.out, self.fresh, self.resume)
