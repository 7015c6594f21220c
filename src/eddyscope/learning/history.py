"""Training curves. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["History"]


@dataclass
class History:
    """Mean squared error of the normalised Π after each epoch."""

    train: list[float] = field(default_factory=list)
    """Met on the way through the epoch, so before its last steps."""
    validation: list[float] = field(default_factory=list)
    """After the epoch, over validation samples; empty if there are none."""

    @property
    def words(self) -> str:
        """The latest losses, for people."""
        if not self.train:
            return ""
        words = f"loss {self.train[-1]:.4f}"
        return words + (f", validation {self.validation[-1]:.4f}" if self.validation else "")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
