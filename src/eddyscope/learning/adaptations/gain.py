"""One factor an output channel of every layer: h -> s h. Tells rescaling from learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Usual

if TYPE_CHECKING:
    from torch import Tensor, nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Gain"]


class Gain(Usual):
    """Multiplies weights and biases of every layer by a trained factor a channel."""

    class Settings(Section):
        """One factor an output channel of every layer."""

        kind: Literal["gain"] = "gain"

    @property
    def words(self) -> str:
        return "each channel × a factor"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        import torch

        from eddyscope.learning.adaptations.replaced import Replaced

        gains = {}
        for name in base.layers:
            weight = next(iter(base.parameters_of(name).values()))
            gains[name] = torch.nn.Parameter(torch.ones(len(weight)))

        def rescaled(kept: Mapping[str, Tensor], gains: Mapping[str, Tensor]) -> dict[str, Tensor]:
            scaled = {}
            for name in base.layers:
                for key in base.parameters_of(name):
                    shape = (-1, *[1] * (kept[key].dim() - 1))
                    scaled[key] = kept[key] * gains[name].reshape(shape)
            return scaled

        return Replaced(base, gains, rescaled)

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        from eddyscope.learning.adaptations.replaced import Replaced

        assert isinstance(module, Replaced)
        return module.folded()
