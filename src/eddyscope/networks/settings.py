"""Settings that all networks share, and the names of their channels. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, field_validator

from eddyscope.config.case import Section

__all__ = ["LAYER", "Channels", "NetworkSettings", "channel_names", "field_of", "numbered"]


LAYER = re.compile(r"l[0-9]{2,}")
"""The name of a network's layer, see `numbered`."""


def _as_tuple(names: object) -> object:
    return tuple(names) if isinstance(names, list) else names


class NetworkSettings(Section):
    """`[network]`: what maps the filtered fields to the subgrid term."""

    of_user: ClassVar[bool] = False
    """Whether the module, and so the names of its layers in it, are a user's own."""

    n: int | None = None
    """Coarse grid it works on, among filter.n; by default the smallest."""
    inputs: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ("psi", "omega")
    """Fields that it is given, of all layers of the flow or, as in "psi_2", of one: psi, omega, u,
    v and strain, √(2 S_ij S_ij), computed from psi, and any other that the datasets hold."""
    outputs: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ("pi",)
    """Fields that it is to give, likewise."""

    @field_validator("inputs", "outputs")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names):
            raise ValueError('give at least one field, each once, as in ["psi", "omega"]')
        return names

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
        return cls.of_fields(("psi", "omega"), ("pi",), layers)

    @classmethod
    def of_fields(cls, inputs: Sequence[str], outputs: Sequence[str], layers: int = 1) -> Channels:
        """The channels of these fields; a name such as "psi_2" is of one layer of several."""
        return cls(
            tuple(c for name in inputs for c in _channels(name, layers)),
            tuple(c for name in outputs for c in _channels(name, layers)),
        )

    def fields(self, layers: int) -> list[str]:
        """The fields that they are of."""
        return list(dict.fromkeys(field_of(name, layers)[0] for name in self.names))


def numbered(count: int) -> list[str]:
    """Names of `count` layers, in the order in which a forward pass meets them: l01, l02, …"""
    return [f"l{number:02d}" for number in range(1, count + 1)]


def field_of(channel: str, layers: int) -> tuple[str, int]:
    """The field and the layer, counted from 0, that a channel is of; see `channel_names`."""
    field, _, number = channel.rpartition("_")
    if layers > 1 and field and number.isdecimal() and 1 <= int(number) <= layers:
        return field, int(number) - 1
    return channel, 0


def _channels(name: str, layers: int) -> list[str]:
    return channel_names(name, layers) if field_of(name, layers)[0] == name else [name]


def channel_names(field: str, layers: int) -> list[str]:
    """A field's channels, one a layer of the flow: "psi" of one, "psi_1", "psi_2", … of several."""
    return [field] if layers == 1 else [f"{field}_{layer}" for layer in range(1, layers + 1)]
