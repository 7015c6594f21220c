"""The schemes that `time.scheme` may name."""

from __future__ import annotations

from eddyscope.config.registry import Registry
from eddyscope.solver.schemes.ab2cn import AdamsBashforth2
from eddyscope.solver.schemes.base import Scheme
from eddyscope.solver.schemes.ifrk3 import RungeKutta3

__all__ = ["SCHEMES"]

SCHEMES: Registry[Scheme] = Registry(
    "time-stepping scheme", {"ab2cn": AdamsBashforth2, "ifrk3": RungeKutta3}
)
