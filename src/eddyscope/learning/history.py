"""Training curves, and the machines they were made on. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from eddyscope.artefacts.model import Curves

__all__ = ["History", "Stretch"]


@dataclass(frozen=True)
class Stretch:
    """Epochs that were trained alike; another number of ranks or threads gives other last bits."""

    epochs_before: int
    """Epochs done when it began."""
    ranks: int
    threads: int
    """Of each rank."""

    def is_like(self, other: Stretch) -> bool:
        """Whether the same sums are formed in the same order."""
        return (self.ranks, self.threads) == (other.ranks, other.threads)

    def __str__(self) -> str:
        return f"{self.ranks} rank(s) of {self.threads} thread(s)"


@dataclass
class History:
    """Mean squared error of the normalised Π after each epoch."""

    train: list[float] = field(default_factory=list)
    """Met on the way through the epoch, so before its last steps."""
    validation: list[float] = field(default_factory=list)
    """After the epoch, over validation samples; empty if there are none."""
    stretches: list[Stretch] = field(default_factory=list)
    """In their order; more than one where training went on on another number of ranks."""

    def go_on(self, ranks: int, threads: int) -> str:
        """Note what the next epochs are trained on; words if it differs from the last ones."""
        new = Stretch(len(self.train), ranks, threads)
        if self.stretches and new.is_like(self.stretches[-1]):
            return ""
        words = f"on {new} after epochs on {self.stretches[-1]}" if self.stretches else ""
        self.stretches.append(new)
        return words

    @property
    def words(self) -> str:
        """The latest losses, for people."""
        if not self.train:
            return ""
        words = f"loss {self.train[-1]:.4f}"
        return words + (f", validation {self.validation[-1]:.4f}" if self.validation else "")

    @property
    def curves(self) -> Curves:
        """As models carry them."""
        return Curves(train=self.train, validation=self.validation)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> History:
        """The inverse of `as_dict`."""
        stretches = [Stretch(**stretch) for stretch in tree["stretches"]]
        return cls(tree["train"], tree["validation"], stretches)
