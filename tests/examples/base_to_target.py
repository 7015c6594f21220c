"""One more score, as a user would add it: this file and one line of `SCORES`.

It reads data of both systems: how much the loss of the base network grows from base to target,
layer by layer, in the size of the gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from eddyscope.advisor.scores.base import Evidence, LayerScore
from eddyscope.config.case import Section

if TYPE_CHECKING:
    from eddyscope.learning.batches import Samples
    from eddyscope.networks.base import LayeredModel

__all__ = ["BaseToTarget"]


class BaseToTarget:
    """(‖∂L_target/∂θ_l‖ / ‖∂L_base/∂θ_l‖)^power."""

    class Settings(Section):
        """A score of kind "base_to_target"."""

        kind: Literal["base_to_target"] = "base_to_target"
        power: float = Field(default=1.0, gt=0.0)
        """Exponent of the ratio."""

    reads_base: ClassVar[bool] = True
    scales_first: ClassVar[bool] = False
    measures: ClassVar[str] = "the gradient on the target over that on the base"
    number_format: ClassVar[str] = ".2f"
    least: ClassVar[float] = 0.0

    def __init__(self, settings: Settings):
        self.settings = settings

    def of_layer(self, model: LayeredModel, evidence: Evidence, layer: str) -> LayerScore:
        import torch

        assert evidence.base is not None
        point = {name: p.detach() for name, p in model.parameters_of(layer).items()}

        def size(samples: Samples) -> float:
            def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
                output = torch.func.functional_call(model.module, parameters, (samples.inputs,))
                return (output - samples.targets).square().mean()

            gradients = torch.func.grad(loss)(point).values()
            return float(sum(g.detach().double().square().sum() for g in gradients).sqrt())

        ratio = size(evidence.target) / size(evidence.base)
        return LayerScore(ratio**self.settings.power)
