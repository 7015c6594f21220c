"""The flows that `[base.flow]` and `[target.flow]` may name."""

from __future__ import annotations

from eddyscope.config.registry import Registry
from eddyscope.flows.base import Flow
from eddyscope.flows.navier_stokes import NavierStokes

__all__ = ["FLOWS"]

FLOWS: Registry[Flow] = Registry("flow", {"navier_stokes": NavierStokes})
