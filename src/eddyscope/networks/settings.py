"""Settings that all networks share, and the names of their channels. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from eddyscope.config.case import Section

__all__ = ["Channels", "NetworkSettings", "channel_names", "numbered"]


class NetworkSettings(Section):
    """`[network]`: what maps the filtered fields to the subgrid term."""

    n: int | None = None
    """Coarse grid it works on, among filter.n; by default the smallest."""

    def with_random_weights(self) -> Self:
        """The same network without weights from elsewhere to begin with."""
        return self


@dataclass(frozen=True)
class Channels:
    """Names of the channels that a network takes and gives, in their order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.inputs, *self.outputs)

    @classmethod
    def of_flow(cls, layers: int = 1) -> Channels:
        """psi, omega -> pi of a flow of one layer; psi_1, psi_2, omega_1, … of several."""
        psi, omega, pi = (channel_names(field, layers) for field in ("psi", "omega", "pi"))
        return cls((*psi, *omega), tuple(pi))


def numbered(count: int) -> list[str]:
    """Names of `count` layers, in the order in which a forward pass meets them: l01, l02, …"""
    return [f"l{number:02d}" for number in range(1, count + 1)]


def channel_names(field: str, layers: int) -> list[str]:
    """A field's channels, one a layer of the flow: "psi" of one, "psi_1", "psi_2", … of several."""
    return [field] if layers == 1 else [f"{field}_{layer}" for layer in range(1, layers + 1)]
