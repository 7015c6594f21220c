"""What an architecture is made into. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Parts"]


@dataclass(frozen=True)
class Parts:
    """A module and what is known of it."""

    module: nn.Module
    layers: Mapping[str, nn.Module]
    """l01, l02, …: those of its submodules that can be re-trained alone."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Submodule that is no layer, though it looks like one -> why."""
    channels_last: bool = True
    """Whether it takes tensors that lie in memory with their channels last, which is faster."""
