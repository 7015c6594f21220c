"""The schemes that `time.scheme` may name."""

from __future__ import annotations

from collections.abc import Callable

from eddyscope.flows.base import Flow
from eddyscope.solver.schemes.ab2cn import AdamsBashforth2
from eddyscope.solver.schemes.base import Stepper
from eddyscope.solver.schemes.ifrk3 import RungeKutta3

__all__ = ["SCHEMES"]

SCHEMES: dict[str, Callable[[Flow, float], Stepper]] = {
    "ab2cn": AdamsBashforth2,
    "ifrk3": RungeKutta3,
}
