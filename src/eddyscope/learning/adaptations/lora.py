"""Low-rank adaptation (Hu et al. 2022) of convolutions: W -> W + B·A.

Every weight of a layer, of shape (o, i, k, k), is read as a matrix of o rows and i·k² columns;
A, of `rank` rows, is drawn at random, B, of `rank` columns, is zero at first, so that training
starts from the base model. Biases are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from eddyscope.artefacts.key import adaptation_text, in_one_order, layers_text
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Usual, check_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Lora"]


class Lora(Usual):
    """Adds a trained matrix of low rank to the weights of the named layers."""

    class Settings(Section):
        """A matrix of low rank added to the weights of some layers."""

        kind: Literal["lora"] = "lora"
        layers: Literal["each"] | list[str] = "each"
        """Names such as "l02"; by default every layer at once."""
        rank: int = Field(default=4, ge=1, le=65536)
        """Rank of the added matrices."""

        @field_validator("layers")
        @classmethod
        def _each_once(cls, layers: str | list[str]) -> str | list[str]:
            if isinstance(layers, str):
                return layers
            if not layers:
                raise ValueError('is empty; name layers, or set layers = "each"')
            return in_one_order(layers)

    settings: Settings

    @property
    def text(self) -> str:
        named: dict[str, object] = {"rank": self.settings.rank}
        if not isinstance(self.settings.layers, str):
            named["layers"] = layers_text(self.settings.layers)
        return adaptation_text(self.settings.kind, named)

    @property
    def words(self) -> str:
        named = self.settings.layers
        where = "every layer" if isinstance(named, str) else layers_text(named)
        return f"rank {self.settings.rank} in {where}"

    def check(self, layers: Sequence[str]) -> None:
        if not isinstance(self.settings.layers, str):
            check_layers(self.settings.layers, layers)

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.replaced import Replaced, uniform

        factors: dict[str, nn.Parameter] = {}
        weights: dict[str, str] = {}
        named = self.settings.layers
        layers = [name for name in base.layers if isinstance(named, str) or name in named]
        for number, name in enumerate(layers, start=1):
            of_layer = {k: p for k, p in base.parameters_of(name).items() if p.dim() > 1}
            if not of_layer:
                raise CaseError(f"{self.text}: {name} has no matrix, so no rank; leave it out")
            for place, (full_name, weight) in enumerate(of_layer.items()):
                matrix = f"{name}_{place}" if place else name
                rows, columns = len(weight), weight[0].numel()
                weights[matrix] = full_name
                own_key = (*key, number, place) if place else (*key, number)
                factors[f"{matrix}_a"] = uniform((self.settings.rank, columns), own_key)
                factors[f"{matrix}_b"] = uniform((rows, self.settings.rank), None)

        def adapted(kept: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                full_name: kept[full_name]
                + (factors[f"{matrix}_b"] @ factors[f"{matrix}_a"]).reshape(kept[full_name].shape)
                for matrix, full_name in weights.items()
            }

        return Replaced(base, factors, adapted)

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        from eddyscope.learning.adaptations.replaced import Replaced

        assert isinstance(module, Replaced)
        return module.folded()
