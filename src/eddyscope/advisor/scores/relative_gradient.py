"""‖∂L/∂θ_l‖ / ‖θ_l‖, L the target loss of the base network: which layer would move most, for
its size (Auto-RGN; Lee et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from eddyscope.advisor.scores.base import Evidence, LayerScore
from eddyscope.config.case import Section

if TYPE_CHECKING:
    from torch import Tensor

    from eddyscope.networks.base import LayeredModel

__all__ = ["RelativeGradient"]


class RelativeGradient:
    """Weights and biases of a layer count together; L is the mean squared error."""

    class Settings(Section):
        """A score of kind "relative_gradient": the gradient of the target loss in a layer's
        parameters, over their size."""

        kind: Literal["relative_gradient"] = "relative_gradient"

    reads_base: ClassVar[bool] = False
    scales_first: ClassVar[bool] = False
    measures: ClassVar[str] = "the target error's gradient in a layer's parameters, over their size"
    number_format: ClassVar[str] = ".3g"
    least: ClassVar[float] = 0.0

    def __init__(self, settings: Settings):
        self.settings = settings

    def of_layer(self, model: LayeredModel, evidence: Evidence, layer: str) -> LayerScore:
        """Not defined (NaN) for a layer of zeros, which has no size to compare with."""
        import torch

        samples = evidence.target
        point = {name: p.detach() for name, p in model.parameters_of(layer).items()}

        def loss(parameters: dict[str, Tensor]) -> Tensor:
            output = torch.func.functional_call(model.module, parameters, (samples.inputs,))
            mean: Tensor = (output - samples.targets).square().mean()
            return mean

        size = _norm(point)
        gradient = _norm(torch.func.grad(loss)(point))
        return LayerScore(gradient / size if size > 0.0 else float("nan"))


def _norm(tensors: Mapping[str, Tensor]) -> float:
    """√(sum of all squares), in double precision."""
    return float(sum(float(t.detach().double().square().sum()) for t in tensors.values()) ** 0.5)
