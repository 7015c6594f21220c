"""What a study does: systems, base models and cells, each once, and where they lie.

Under the output folder, each an ordinary output folder of an ordinary case:

    systems/<id>/                 a simulated system: base/dataset.h5, whatever it is in its cases
    models/<id>/                  a base model: models/base.safetensors
    cells/<case>/<point>/         a cell: the models re-trained from it, and evaluation.csv

An id is a digest of all that decides what is there, so two cases that ask for the same thing share
it, and one that asks for another gets another folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from eddyscope.config import provenance
from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.parallel.work import deal
from eddyscope.study.axes import Point, as_toml

__all__ = ["Cell", "Plan", "System", "Training", "identity", "share_of"]


def identity(tree: Mapping[str, object]) -> str:
    """A short digest of all that decides a result."""
    return provenance.digest(tree)[:12]


@dataclass(frozen=True)
class System:
    """A flow and the ensemble that samples it."""

    id: str
    words: str
    """The case and the system that ask for it first."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """The case that simulates it as its base system; empty for a dataset that is named."""
    named: Path | None = None
    """The dataset that its case names."""
    cost: float = 0.0
    """Not known beforehand."""

    @property
    def needs(self) -> list[str]:
        """Ids of what must be there before."""
        return []

    def stopping(self, seconds: float | None) -> dict[str, object]:
        """The case that simulates it, and stops by itself after so many seconds."""
        stop = self.settings["stop"]
        assert isinstance(stop, Mapping)
        limit = stop["seconds"] if seconds is None else seconds
        return {**self.settings, "stop": {**stop, "seconds": limit}}

    def folder(self, out: Path) -> Path:
        """Where it is simulated."""
        return out / "systems" / self.id

    def dataset(self, out: Path) -> Path:
        return self.named or self.folder(out) / "base" / "dataset.h5"


@dataclass(frozen=True)
class Training:
    """A base model."""

    id: str
    words: str
    case: str
    """The case file."""
    overrides: tuple[str, ...]
    base: System
    cost: float = 0.0
    """Seconds of one core, about."""
    named: Path | None = None
    """The model that its case names."""

    @property
    def needs(self) -> list[str]:
        """Ids of what must be there before."""
        return [self.base.id]

    def sharing(self, out: Path) -> list[str]:
        """The settings that name what it shares, as on the command line."""
        return [f"base.dataset={as_toml(str(self.base.dataset(out)))}"]

    def folder(self, out: Path) -> Path:
        """Where it is trained."""
        return out / "models" / self.id

    def model(self, out: Path) -> Path:
        return self.named or self.folder(out) / "models" / "base.safetensors"


@dataclass(frozen=True)
class Cell:
    """One point of one case."""

    id: str
    name: str
    """The case's."""
    point: Point
    values: Mapping[str, object]
    """Setting -> what the case has there, of all axes of the study."""
    case: str
    overrides: tuple[str, ...]
    systems: Mapping[str, System]
    """"base" and "target"."""
    training: Training
    models: int
    """Models that are made from the base model."""
    trainings: int
    """Trainings that this takes, those that choose rates and steps among them."""
    bytes: int
    """That their files take, about."""
    cost: float
    """Seconds of one core, about."""

    @property
    def words(self) -> str:
        return f"{self.name}, {self.point.name}"

    @property
    def needs(self) -> list[str]:
        """Ids of what must be there before."""
        return [*(system.id for system in self.systems.values()), self.training.id]

    def folder(self, out: Path) -> Path:
        return out / "cells" / self.name / self.point.name

    def command(self, out: Path) -> str:
        """What makes it, alone."""
        words = [*self.overrides, *self.sharing(out)]
        return shlex.join(["eddyscope", "transfer", self.case, *words, "--out",
                           str(self.folder(out))])  # fmt: skip

    def sharing(self, out: Path) -> list[str]:
        """The settings that name what it shares, as on the command line."""
        named = {
            "base.dataset": self.systems["base"].dataset(out),
            "target.dataset": self.systems["target"].dataset(out),
            "training.model": self.training.model(out),
        }
        return [f"{setting}={as_toml(str(path))}" for setting, path in named.items()]


@dataclass(frozen=True)
class Plan:
    """All that a study does."""

    name: str
    cells: Sequence[Cell]
    axes: Sequence[str]
    """Settings that are columns of the tables: those that are varied, and transfer.samples."""

    @cached_property
    def systems(self) -> list[System]:
        """Those that are simulated, each once."""
        found = [s for cell in self.in_turns for s in cell.systems.values() if not s.named]
        return _each_once(found)

    @cached_property
    def trainings(self) -> list[Training]:
        """Base models that are trained, each once."""
        return _each_once([c.training for c in self.in_turns if not c.training.named])

    @property
    def cases(self) -> list[str]:
        return list(dict.fromkeys(cell.name for cell in self.cells))

    @property
    def in_turns(self) -> list[Cell]:
        """Cells in the order in which they are done: the first point of every case, then the second
        of every case, so that a study which is stopped has something of each."""
        of_cases = [[c for c in self.cells if c.name == name] for name in self.cases]
        return [cell for turn in zip_longest(*of_cases) for cell in turn if cell is not None]

    def only(self, names: Sequence[str]) -> Plan:
        """That of some cases. CaseError for one that is not among them."""
        for name in names:
            if name not in self.cases:
                hint = did_you_mean(name, self.cases)
                raise CaseError(
                    f"--only {name}: no such case; {hint + ' ' if hint else ''}cases: "
                    f"{', '.join(self.cases)}"
                )
        chosen = [cell for cell in self.cells if not names or cell.name in names]
        return Plan(self.name, chosen, self.axes)

    def without(self, ids: Collection[str]) -> Plan:
        """The same less some cells, and less what they alone need."""
        return Plan(self.name, [cell for cell in self.cells if cell.id not in ids], self.axes)


Item = TypeVar("Item", bound=System | Training | Cell)


def _each_once(items: Sequence[Item]) -> list[Item]:
    """The first of each id."""
    found: dict[str, Item] = {}
    for item in items:
        found.setdefault(item.id, item)
    return list(found.values())


def share_of(items: Sequence[Item], parts: int, index: int) -> list[Item]:
    """One of `parts` shares of the items, the costly ones first and spread out evenly."""
    order = sorted(range(len(items)), key=lambda place: (-items[place].cost, place))
    return [items[place] for place in deal(order, parts, index)]
