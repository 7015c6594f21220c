"""Settings that all networks share, and the names of their channels. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from eddyscope.config.case import Section

__all__ = ["Channels", "NetworkSettings", "numbered"]


class NetworkSettings(Section):
    """`[network]`: what maps the filtered fields to the subgrid term."""

    n: int | None = None
    """Coarse grid it works on, among filter.n; by default the smallest."""


@dataclass(frozen=True)
class Channels:
    """Names of the channels that a network takes and gives, in their order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of_flow(cls, layers: int = 1) -> Channels:
        """psi, omega -> pi of a flow of one layer; psi_1, psi_2, omega_1, … of several."""
        return cls(_each(("psi", "omega"), layers), _each(("pi",), layers))


def numbered(count: int) -> list[str]:
    """Names of `count` layers, in the order in which a forward pass meets them: l01, l02, …"""
    return [f"l{number:02d}" for number in range(1, count + 1)]


def _each(fields: Iterable[str], layers: int) -> tuple[str, ...]:
    """Every field of every layer, field by field; plain names where there is one layer."""
    if layers == 1:
        return tuple(fields)
    return tuple(f"{field}_{layer}" for field in fields for layer in range(1, layers + 1))
