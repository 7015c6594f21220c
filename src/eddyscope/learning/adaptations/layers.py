"""Weights and biases of named layers; all others are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from eddyscope.artefacts.key import LAYERS, adaptation_text, in_one_order, layers_text
from eddyscope.artefacts.role import Role
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Usual, check_layers

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Layers"]


class Layers(Usual):
    """Re-trains the named layers."""

    class Settings(Section):
        """All weights of the named layers."""

        kind: Literal["layers"] = "layers"
        layers: list[str] = Field(min_length=1)
        """Names such as "l02", in any order."""
        parameters: int | None = Field(default=None, ge=1)
        """Re-train so many of their weights, drawn at random, the others kept: for layers compared
        at equal numbers of parameters. By default all."""

        @field_validator("layers")
        @classmethod
        def _each_once(cls, layers: list[str]) -> list[str]:
            return in_one_order(layers)

    role: ClassVar[Role] = "layers"

    settings: Settings

    @property
    def text(self) -> str:
        named: dict[str, object] = {"layers": layers_text(self.settings.layers)}
        if self.settings.parameters is not None:
            named["parameters"] = self.settings.parameters
        return adaptation_text(LAYERS, named)

    @property
    def words(self) -> str:
        named, count = layers_text(self.settings.layers), self.settings.parameters
        return named if count is None else f"{count} weights of {named}"

    def check(self, layers: Sequence[str]) -> None:
        check_layers(self.settings.layers, layers)

    def check_sizes(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        if self.settings.parameters is not None:
            self._check_there_are(sum(sizes()[name] for name in self.settings.layers))

    def _check_there_are(self, whole: int) -> None:
        asked = self.settings.parameters
        if asked is not None and asked > whole:
            raise CaseError(
                f"transfer asks for {self.text!r}, but there are {whole} weights; set parameters = "
                f"{whole} or less, or leave it out for all"
            )

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.replaced import frozen_but, some_trained

        module = frozen_but(base, self.settings.layers).module
        if self.settings.parameters is not None:
            self._check_there_are(super().count(module))
            some_trained(module, self.settings.parameters, key)
        return module

    def count(self, module: nn.Module) -> int:
        whole = super().count(module)
        return whole if self.settings.parameters is None else self.settings.parameters
