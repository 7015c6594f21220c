"""What a training writes about itself while it runs, beside its model. Written by rank 0 alone.

`<model>.metrics.jsonl`: a line for each point of the curves, in their order:

    {"step": 20, "loss": 0.41, "validation": 0.44, "rate": 0.00095, "seconds": 3.2}

rate: the schedule's, of a tensor whose full rate is the recipe's; seconds: since this call began.
A training that goes on drops the lines after its checkpoint and appends.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.registry import Registry
from eddyscope.storage.atomic import cannot_write, write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["LOGS", "Jsonl", "Log"]


class Log(Protocol):
    """A place to write to. None of it is collective."""

    def check(self) -> None:
        """CaseError where it cannot be written here."""

    def begin(self, model: Path, step: int) -> None:
        """Before a training of `model`, a path without suffix, goes on at `step`. Raises
        CannotWrite."""

    def write(self, point: Mapping[str, float]) -> None:
        """A point of the curves. Raises CannotWrite."""

    def end(self) -> None:
        """Nothing more will come for now."""


class Jsonl:
    """One JSON text a line."""

    class Settings(Section):
        """A line of JSON a point of the curves, in <model>.metrics.jsonl."""

        kind: Literal["jsonl"] = "jsonl"

    def __init__(self, settings: Section):
        self.path = Path()

    def check(self) -> None:
        """It can be written wherever models can."""

    def begin(self, model: Path, step: int) -> None:
        self.path = model.with_name(f"{model.name}.metrics.jsonl")
        kept = [line for line in self._lines() if json.loads(line)["step"] <= step]
        write_atomically(self.path, "".join(f"{line}\n" for line in kept))

    def write(self, point: Mapping[str, float]) -> None:
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(dict(point)) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def end(self) -> None:
        """Every line is in the file already."""

    def _lines(self) -> list[str]:
        """Whole lines of what is there; a kill may have cut the last one short."""
        try:
            lines = self.path.read_text().split("\n")[:-1]
        except (OSError, UnicodeDecodeError):
            return []
        return [line for line in lines if _is_point(line)]


def _is_point(line: str) -> bool:
    try:
        return isinstance(json.loads(line)["step"], int)
    except (ValueError, TypeError, KeyError):
        return False


class TensorBoard:
    """Event files for TensorBoard, which needs no network to write or to show them."""

    class Settings(Section):
        """Curves for TensorBoard, in <model>.tensorboard/; needs the package tensorboard."""

        kind: Literal["tensorboard"] = "tensorboard"

    def __init__(self, settings: Section):
        self.writer: SummaryWriter | None = None

    def check(self) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise CaseError(
                'training.log = ["tensorboard"], but the package tensorboard is not installed; '
                "install it (pip install tensorboard), or leave it out"
            )

    def begin(self, model: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = model.with_name(f"{model.name}.tensorboard")
        try:
            self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        except OSError as error:
            raise cannot_write(folder, error) from None

    def write(self, point: Mapping[str, float]) -> None:
        assert self.writer is not None
        try:
            for name, value in point.items():
                if name != "step":
                    self.writer.add_scalar(name, value, int(point["step"]))
            self.writer.flush()
        except OSError as error:
            raise cannot_write(Path(self.writer.log_dir), error) from None

    def end(self) -> None:
        if self.writer is not None:
            self.writer.close()


LOGS: Registry[Log] = Registry("log", {"jsonl": Jsonl, "tensorboard": TensorBoard})
"""Names in case files -> classes."""
