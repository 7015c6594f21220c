"""One factor an output channel of every layer: h -> s h. Tells rescaling from learning.

The factors multiply weights and biases where a layer is linear in them, and else what it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.config.case import Section
from eddyscope.learning.adaptations.base import Usual

if TYPE_CHECKING:
    from torch import Tensor, nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Gain"]


class Gain(Usual):
    """Multiplies weights and biases of every layer by a trained factor a channel."""

    shifts: ClassVar[bool] = False
    """Whether biases get a trained shift besides."""

    class Settings(Section):
        """One factor an output channel of every layer."""

        kind: Literal["gain"] = "gain"

    @property
    def words(self) -> str:
        return "each channel × a factor"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        import torch

        from eddyscope.learning.adaptations.replaced import Replaced, own_names, with_scales
        from eddyscope.networks.layers import is_affine, output_channels, output_factors
        from eddyscope.networks.state import scale_name

        affine = [name for name, layer in base.layers.items() if is_affine(layer)]
        others = [name for name in base.layers if name not in affine]
        network, sizes = with_scales(base, others)
        sizes |= {name: output_channels(base.layers[name]) for name in affine}
        trained = {name: torch.nn.Parameter(torch.ones(sizes[name])) for name in base.layers}
        if self.shifts:
            biased = [name for name in affine if base.layers[name].bias is not None]
            trained |= {f"{n}_shift": torch.nn.Parameter(torch.zeros(sizes[n])) for n in biased}
        scales = {name: scale_name(path) for name, path in base.paths.items()}

        def moved(kept: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
            in_place = {
                scales[name]: kept[scales[name]] * trained[name].reshape_as(kept[scales[name]])
                for name in others
            }
            for name in affine:
                for full_name, own in own_names(base, name).items():
                    factors = output_factors(base.layers[name], own, trained[name])
                    in_place[full_name] = kept[full_name] * factors
                    if own == "bias" and self.shifts:
                        in_place[full_name] = in_place[full_name] + trained[f"{name}_shift"]
            return in_place

        return Replaced(network, trained, moved)

    def folded(self, module: nn.Module, base: LayeredModel) -> LayeredModel:
        from eddyscope.learning.adaptations.replaced import Replaced

        assert isinstance(module, Replaced)
        return module.folded()
