"""The closures that `les.closures` may name. Imports no torch."""

from __future__ import annotations

from eddyscope.closures.base import SubgridModel
from eddyscope.closures.learned import Learned
from eddyscope.closures.none import Nothing
from eddyscope.config.registry import Registry

__all__ = ["CLOSURES"]

CLOSURES: Registry[SubgridModel] = Registry("closure", {"none": Nothing, "learned": Learned})
