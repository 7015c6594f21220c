"""One factor and one shift an output channel of every layer: h -> s h + t, a linear transform of
each neuron. The shift is of layers that have a bias to hold it."""

from __future__ import annotations

from typing import ClassVar, Literal

from eddyscope.config.case import Section
from eddyscope.learning.adaptations.gain import Gain

__all__ = ["GainShift"]


class GainShift(Gain):
    """Multiplies what every layer gives by a trained factor a channel, and adds a trained shift
    where the layer has a bias: W -> s W, b -> s b + t."""

    class Settings(Section):
        """One factor and one shift an output channel of every layer."""

        kind: Literal["gain_shift"] = "gain_shift"

    shifts: ClassVar[bool] = True

    @property
    def words(self) -> str:
        return "each channel × a factor + a shift"
