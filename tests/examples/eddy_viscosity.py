"""A closure with a parameter that a user might add: an eddy viscosity."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from eddyscope.closures.base import ClosureSettings, SubgridModel
from eddyscope.config.arrays import ComplexArray
from eddyscope.flows.base import Flow


class EddyViscosity(SubgridModel):
    """Π = ν_t ∇²ω with ν_t = (CΔ)² √⟨ω²⟩, of each member and layer."""

    class Settings(ClosureSettings):
        kind: Literal["eddy_viscosity"] = "eddy_viscosity"
        coefficient: float = Field(default=0.17, ge=0.0)
        """C."""

    def on(self, flow: Flow, filter_width: float) -> OnModes:
        return OnModes(flow, (self.settings.coefficient * filter_width) ** 2)


class OnModes:
    """The closure on the modes of a flow."""

    def __init__(self, flow: Flow, factor: float):
        transform = flow.transform
        self._weight = transform.from_host(transform.weight)
        self._loss = transform.from_host(-factor * (transform.kx**2 + transform.ky**2))

    def pi_hat(self, omega_hat: ComplexArray) -> ComplexArray:
        square = (self._weight * abs(omega_hat) ** 2).sum(axis=(2, 3), keepdims=True)
        pi_hat: ComplexArray = self._loss * square**0.5 * omega_hat
        return pi_hat
