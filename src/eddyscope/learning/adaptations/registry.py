"""Adaptations by the names that case files use. Imports no torch."""

from __future__ import annotations

from eddyscope.config.registry import Registry
from eddyscope.learning.adaptations.auto_rgn import AutoRgn
from eddyscope.learning.adaptations.base import Adaptation
from eddyscope.learning.adaptations.bias import Bias
from eddyscope.learning.adaptations.everything import Everything
from eddyscope.learning.adaptations.gain import Gain
from eddyscope.learning.adaptations.gain_shift import GainShift
from eddyscope.learning.adaptations.joint import Joint
from eddyscope.learning.adaptations.layers import Layers
from eddyscope.learning.adaptations.least_squares import LeastSquares
from eddyscope.learning.adaptations.lora import Lora
from eddyscope.learning.adaptations.scale import Scale
from eddyscope.learning.adaptations.scratch import Scratch
from eddyscope.learning.adaptations.three_scales import ThreeScales

__all__ = ["ADAPTATIONS"]

ADAPTATIONS: Registry[Adaptation] = Registry(
    "adaptation",
    {
        "layers": Layers,
        "gain": Gain,
        "all": Everything,
        "scratch": Scratch,
        "scale": Scale,
        "three_scales": ThreeScales,
        "lora": Lora,
        "bias": Bias,
        "gain_shift": GainShift,
        "joint": Joint,
        "auto_rgn": AutoRgn,
        "least_squares": LeastSquares,
    },
)
