"""The Closure protocol, and the closure that does nothing."""

from __future__ import annotations

from typing import Protocol

from eddyscope.config.arrays import ComplexArray

__all__ = ["Closure", "NoClosure"]


class Closure(Protocol):
    """Models the subgrid term Π of the vorticity equation from the resolved flow."""

    def pi_hat(self, omega_hat: ComplexArray) -> ComplexArray | None:
        """Coefficients of Π, laid out as `omega_hat`; None stands for Π = 0. Collective."""


class NoClosure:
    """Π = 0: a direct simulation, or an LES that leaves the subgrid term out."""

    def pi_hat(self, omega_hat: ComplexArray) -> ComplexArray | None:
        return None
