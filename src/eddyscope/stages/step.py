"""A step: a resumable piece of a stage's work, and what decides its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.config.identity import deciding, deciding_of
from eddyscope.stages.case import Case
from eddyscope.stages.files import digest_of_input, shown

__all__ = ["Decisions", "Step", "deciding_sections", "decisions"]


@dataclass(frozen=True)
class Step:
    """A resumable piece of work: what decides its result, what it reads, what it writes."""

    name: str
    """As in "dns.base" or "train"."""
    sections: Sequence[str]
    """Dotted keys of the case that decide the result."""
    inputs: Sequence[Path] = ()
    outputs: Sequence[Path] = ()
    """Files and folders that are the result; all exist once the step is complete."""
    scratch: Sequence[Path] = ()
    """Files and folders used on the way; removed with the outputs when the step is redone."""
    settings: Mapping[str, BaseModel] = field(default_factory=dict)
    """Entries of the case's lists that decide it too, each under a name."""
    status: Path | None = None
    """Status file; by default status/<name>.json."""
    sizes: Mapping[Path, int] = field(default_factory=dict)
    """Bytes that outputs and scratch files will take on the disk at the most."""
    stage: str = ""
    """The stage that redoes it; by default the first word of its name."""

    @property
    def is_shared(self) -> bool:
        """Whether several stages have it before their own: done once, it is news to none."""
        return bool(self.stage)

    @property
    def redo(self) -> str:
        """How it is redone, for messages."""
        return f"`eddyscope {self.stage or self.name.split('.')[0]} … --fresh`"

    def status_file(self, out: Path) -> Path:
        """Where its status is kept, under the output folder."""
        return self.status or out / "status" / f"{self.name}.json"


@dataclass(frozen=True)
class Decisions:
    """All that decides a step's result."""

    sections: Mapping[str, Any]
    """Dotted key -> what the case says there, without what changes no result."""
    inputs: Mapping[str, str]
    """File -> digest of what it holds."""

    @property
    def digest(self) -> str:
        """One fingerprint of it all."""
        return provenance.digest({"sections": self.sections, "inputs": self.contents})

    @property
    def contents(self) -> list[str]:
        """What the files hold, in their order: where they lie decides nothing."""
        return list(self.inputs.values())


def decisions(step: Step, case: Case, out: Path) -> Decisions:
    """What decides the result of `step`. Reads its inputs. Not collective.

    CaseError if one of them is missing.
    """
    for path in step.inputs:
        if not path.exists():
            raise CaseError(
                f"{path}: missing, but {step.name} reads it; run the stage that makes it "
                f"first, or `eddyscope run` for all"
            )
    return Decisions(
        sections=deciding_sections(step, case),
        inputs={shown(path, out): digest_of_input(path, case) for path in step.inputs},
    )


def deciding_sections(step: Step, case: Case) -> dict[str, Any]:
    """What a case says of a step's result."""
    entries = {name: deciding(entry) for name, entry in step.settings.items()}
    return {**deciding_of(case, step.sections), **entries}
