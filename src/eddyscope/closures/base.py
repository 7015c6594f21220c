"""What a closure of `les.closures` is: settings with a name, and Π of any flow on its grid."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eddyscope.artefacts.key import ModelKey
from eddyscope.config.case import Section
from eddyscope.flows.base import Flow
from eddyscope.networks.settings import Channels
from eddyscope.solver.closure import Closure

__all__ = ["ClosureSettings", "Sources", "SubgridModel"]

FILE_NAME = re.compile(r"[\w.,=+()-]{1,200}")
"""What a closure's text may be: it names a file."""


@dataclass(frozen=True)
class Sources:
    """Where closures find what they are made from."""

    models: Path
    """Folder of the models."""
    normalisation: Path
    """The target's own statistics, `artefacts/normalisation.py`."""
    evaluation: Path
    """The summary of the evaluation, which says what is best."""
    network: Any
    """Settings of the case's network, which models must have."""
    base: Path | None = None
    """The base model, where it lies elsewhere."""

    def model(self, key: ModelKey) -> Path:
        """The artefact of a model."""
        return self.base if key.is_base and self.base else key.path(self.models)


class ClosureSettings(Section):
    """What the settings of all closures have; each adds `kind`, a Literal of its name."""

    kind: str

    @property
    def text(self) -> str:
        """Its name in outputs: the kind, with the settings that differ from their defaults."""
        fields = {name: field.default for name, field in type(self).model_fields.items()}
        given = {name: getattr(self, name) for name in sorted(fields) if name != "kind"}
        inside = ",".join(f"{k}={v}" for k, v in given.items() if v != fields[k])
        return f"{self.kind}({inside})" if inside else self.kind

    def check(self, models: Sequence[str], kinds: Sequence[str]) -> None:
        """Raise CaseError where a case that makes these models cannot make the closure; kinds:
        those of all closures, for a hint."""

    def check_channels(self, channels: Channels, layers: int) -> None:
        """Raise CaseError where a model of these channels cannot be what the closure is made of;
        layers: of the flow."""

    def chosen_by(self, sources: Sources) -> tuple[Path, ...]:
        """The files that say which files decide it; none where that is known without."""
        return ()

    def reads(self, sources: Sources) -> tuple[Path, ...]:
        """The files that decide it, beside its settings. CaseError if it is not known yet."""
        return ()


class SubgridModel(ABC):
    """A closure before it meets a flow; made once a run, on every rank.

    To add one: a class in a file of its own with nested `Settings(ClosureSettings)`, and a line
    in `registry.py`.
    """

    Settings: ClassVar[type[ClosureSettings]]

    def __init__(self, settings: Any, sources: Sources):
        """`settings` are the class's own. Raises CaseError for files that it cannot use; not
        collective."""
        self.settings = settings

    @property
    def key(self) -> ModelKey | None:
        """Which model of the case it is made from; None for none."""
        return None

    @property
    def way(self) -> str:
        """How the model's fields are normalised, see `artefacts/normalisation.py`; empty for no
        model."""
        return ""

    @abstractmethod
    def on(self, flow: Flow, filter_width: float) -> Closure:
        """The closure of a flow of whole members on this rank; fields have axes (member, layer).

        filter_width: Δ of the flow's grid.
        """
