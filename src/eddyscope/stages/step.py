"""A step: a resumable piece of a stage's work, and what decides its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.model import read_model
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file
from eddyscope.config.identity import deciding, deciding_of
from eddyscope.stages.case import Case

__all__ = ["Decisions", "Step", "Work", "check_input", "deciding_sections", "decisions",
           "digest_of", "shown"]  # fmt: skip


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
    def redo(self) -> str:
        """How it is redone, for messages."""
        return f"`eddyscope {self.stage or self.name.split('.')[0]} … --fresh`"

    def status_file(self, out: Path) -> Path:
        """Where its status is kept, under the output folder."""
        return self.status or out / "status" / f"{self.name}.json"


@dataclass(frozen=True)
class Work:
    """Steps whose work is done together."""

    steps: Sequence[Step]
    do: Callable[[Sequence[Step]], None]
    """Called with those steps that are not complete, if there are any. Collective."""


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
        return provenance.digest({"sections": self.sections, "inputs": self.inputs})


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
        inputs={shown(path, out): digest_of(path) for path in step.inputs},
    )


def deciding_sections(step: Step, case: Case) -> dict[str, Any]:
    """What a case says of a step's result."""
    entries = {name: deciding(entry) for name, entry in step.settings.items()}
    return {**deciding_of(case, step.sections), **entries}


def digest_of(path: Path) -> str:
    """What a file holds: a dataset's checksums, any other file's SHA-256. CaseError if damaged."""
    if is_dataset(path):
        return Dataset(path).digest
    require_file(path, "file")
    try:
        return provenance.file_digest(path)
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error.strerror})") from None


def is_dataset(path: Path) -> bool:
    """Whether a file of this name is a dataset, by the plan of the output folder."""
    return path.name == "dataset.h5"


def shown(path: Path, out: Path) -> str:
    """`path` as seen from the output folder, so that the folder can be moved."""
    return str(path.relative_to(out)) if path.is_relative_to(out) else str(path)


def check_input(path: Path, case: Case) -> None:
    """CaseError for an artefact that no stage could use. Not collective."""
    if is_dataset(path):
        Dataset(path).require(case.network_grid)
    elif path.suffix == ".safetensors":
        read_model(path, case.network)
