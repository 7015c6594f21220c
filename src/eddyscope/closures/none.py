"""The closure that leaves the subgrid term out."""

from __future__ import annotations

from typing import Literal

from eddyscope.closures.base import ClosureSettings, SubgridModel
from eddyscope.flows.base import Flow
from eddyscope.solver.closure import NoClosure

__all__ = ["Nothing"]


class Nothing(SubgridModel):
    """Π = 0."""

    class Settings(ClosureSettings):
        kind: Literal["none"] = "none"

    def on(self, flow: Flow, filter_width: float) -> NoClosure:
        return NoClosure()
