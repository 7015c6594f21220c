"""Training curves, and the machines they were made on. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from eddyscope.artefacts.model import Curves

__all__ = ["History", "Stretch"]


@dataclass(frozen=True)
class Stretch:
    """Steps that were trained alike; another number of ranks or threads gives other last bits."""

    steps_before: int
    """Steps done when it began."""
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
    """Mean squared error of the normalised Π, at points between steps: after each epoch, unless the
    recipe says otherwise."""

    train: list[float] = field(default_factory=list)
    """Met on the way to the point, so before the last steps."""
    validation: list[float] = field(default_factory=list)
    """At the point, over validation samples; empty if there are none."""
    steps: list[int] = field(default_factory=list)
    """Done at each point."""
    best: int | None = None
    """Place among the points of the one whose weights are the result; None for the last."""
    travel: float | None = None
    """How far weights went, of what the rates allow: the largest over all tensors of
    max |Δθ| / Σ rate, Δθ from where the training began to where it ended. Adam moves no weight by
    much more than its rate a step, so what ends near 1 was held back by rate × steps."""
    stretches: list[Stretch] = field(default_factory=list)
    """In their order; more than one where training went on on another number of ranks."""

    def go_on(self, step: int, ranks: int, threads: int) -> str:
        """Note what the steps from `step` on are trained on; words if it differs from those
        before."""
        new = Stretch(step, ranks, threads)
        if self.stretches and new.is_like(self.stretches[-1]):
            return ""
        words = f"on {new} after steps on {self.stretches[-1]}" if self.stretches else ""
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
        return Curves(train=self.train, validation=self.validation, steps=self.steps)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> History:
        """The inverse of `as_dict`."""
        stretches = [Stretch(**stretch) for stretch in tree["stretches"]]
        return cls(**{**tree, "stretches": stretches})
