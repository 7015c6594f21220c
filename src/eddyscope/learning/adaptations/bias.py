"""The biases alone: what is given to every point of a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Usual

if TYPE_CHECKING:
    from torch import nn

    from eddyscope.networks.base import LayeredModel

__all__ = ["Bias"]


class Bias(Usual):
    """Re-trains the biases of all layers (BitFit; Ben Zaken et al. 2022)."""

    class Settings(Section):
        """The biases of all layers."""

        kind: Literal["bias"] = "bias"

    @property
    def words(self) -> str:
        return "all biases"

    def module(self, base: LayeredModel, key: Sequence[int]) -> nn.Module:
        from eddyscope.learning.adaptations.replaced import frozen_but

        module = frozen_but(base, []).module
        as_made = dict(base.module.named_parameters())
        biases = {n: p for n, p in module.named_parameters() if n.endswith("bias")}
        for name, parameter in biases.items():
            parameter.requires_grad_(as_made[name].requires_grad)
        if not biases:
            raise CaseError("bias: the network has no biases; leave it out of transfer.controls")
        return module
