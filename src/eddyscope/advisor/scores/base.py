"""What a score is: a number for each layer of the base network, before any is re-trained.

    class Example:
        class Settings(Section):
            kind: Literal["example"] = "example"

        reads_base: ClassVar[bool] = False
        scales_first: ClassVar[bool] = False
        measures: ClassVar[str] = "what the number is"
        number_format: ClassVar[str] = ".3g"
        least: ClassVar[float] = 0.0

        def __init__(self, settings: Settings): …
        def of_layer(self, model, evidence, layer) -> LayerScore: …

The higher the number the better the layer. A score must not depend on chance, must not
change the network, and imports torch only inside `of_layer`. One file and one line of
`SCORES` (`advisor/scores/registry.py`) add one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from eddyscope.config.arrays import FloatArray

if TYPE_CHECKING:
    import torch

    from eddyscope.advisor.start import Start
    from eddyscope.learning.batches import Samples
    from eddyscope.networks.base import LayeredModel

__all__ = ["Curve", "Evidence", "LayerScore", "Score"]


@dataclass(frozen=True)
class Evidence:
    """What scores look at: normalised samples, the same on every rank, on the network's device."""

    target: Samples
    """Target samples, the first of those that re-training would use."""
    base: Samples | None = None
    """As many samples that the base model was trained on; None unless a score reads them."""
    spectral: bool = True
    """Whether the fields have spectra by shells: periodic, as many points along y as along x."""
    normalisation: str = ""
    """How the target samples are normalised, see `artefacts/normalisation.py`; empty if unknown."""
    start: Start | None = None
    """The target samples between the three scales that fit best; None unless a score asks for
    them."""

    def to(self, device: torch.device) -> Evidence:
        base = None if self.base is None else self.base.to(device)
        return replace(self, target=self.target.to(device), base=base, start=None)


@dataclass(frozen=True)
class Curve:
    """Numbers along one axis that explain a score; of the same length for every layer."""

    values: FloatArray
    """Shape (position,); NaN where there is none."""
    axis: str
    """What it runs along: "iteration", …; "wavenumber" for shells k = 1 … n/2 − 1."""
    positions: FloatArray
    """Where on the axis the values are, shape (position,)."""
    meaning: str


@dataclass(frozen=True)
class LayerScore:
    """What a score says of one layer."""

    value: float
    """NaN where the score is not defined for the layer."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """Name -> curve."""
    parts: FloatArray = field(default_factory=lambda: np.empty(0))
    """What each target sample says, (sample,); the value is their mean. Empty where that is not
    known."""


class Score(Protocol):
    """Made from its settings; `SCORES` names the class."""

    reads_base: ClassVar[bool]
    """Whether it needs `Evidence.base`."""
    scales_first: ClassVar[bool]
    """Whether it needs `Evidence.start`."""
    measures: ClassVar[str]
    """What its number is, in words that fit between brackets."""
    number_format: ClassVar[str]
    """How people read the number, as in `format(value, number_format)`."""
    least: ClassVar[float]
    """Up to here the number promises nothing: layers that have no more are not told apart."""

    def of_layer(self, model: LayeredModel, evidence: Evidence, layer: str) -> LayerScore:
        """The score of layer `layer` of the base network `model`. Not collective."""
