"""How to train: all that decides a result together with the network and the samples. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from eddyscope.config.errors import CaseError
from eddyscope.learning.losses import Loss, Mse
from eddyscope.learning.schedule import Schedule
from eddyscope.networks.settings import Channels

__all__ = ["Parities", "Recipe"]

Precision = Literal["float32", "tf32", "bf16"]

PARITY = {"psi": -1, "omega": -1, "pi": -1, "strain": 1}
"""Field -> what it is times when the flow is mirrored: ω = ∂v/∂x − ∂u/∂y, and with it ψ and Π, is a
pseudo-scalar in two dimensions; the rate of strain is a scalar. u and v turn into others."""


@dataclass(frozen=True)
class Parities:
    """What the channels of a mirrored sample are times, +1 or −1 each."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, channels: Channels) -> Parities:
        """CaseError for a channel whose sign is not known."""
        return cls(_signs(channels.inputs), _signs(channels.outputs))


def _signs(channels: Sequence[str]) -> tuple[int, ...]:
    names = [re.sub(r"_\d+$", "", name) for name in channels]
    for name in names:
        if name not in PARITY:
            raise CaseError(
                f"training.reflections = true, but it is not known what {name} of a mirrored flow "
                f"is; allowed are networks of {', '.join(PARITY)}; leave it out"
            )
    return tuple(PARITY[name] for name in names)


@dataclass(frozen=True)
class Recipe:
    """How to train; one step is one update of the weights."""

    steps: int
    batch_size: int
    """Samples a step on all ranks together."""
    rate: float
    """Of Adam; with `scaled_by_fan_in` η, see `learning/schedule.py`."""
    key: tuple[int, ...]
    """Key of the samples' order and rotations."""
    scaled_by_fan_in: bool = False
    rate_from: str = "training.learning_rate"
    """The setting that the rate is of, for messages."""
    schedule: Schedule = "constant"
    loss: Loss = field(default_factory=Mse)
    """Made for the channels of the network."""
    noise: float = 0.0
    """Standard deviation of the noise on normalised inputs."""
    rotations: bool = False
    reflections: Parities | None = None
    """Of the channels, where samples are mirrored too."""
    accumulate: int = 1
    """Passes that a rank's part of a batch is split into."""
    precision: Precision = "float32"
    compile: bool = False
    reproducible: bool = False
    """Whether the bits are the same on any number of ranks, see `learning/gradients.py`."""
    keep: Literal["last", "best"] = "last"
    """Which weights are the result: the last, or those with the least validation loss."""
    stop: int | None = None
    """Steps after which it ends, still on the schedule of all `steps`; None: all of them."""
    evaluate_every: int = 0
    """Steps between the points of the curves; 0: one pass through the samples."""
    checkpoint_every: int = 0
    """Steps between checkpoints; 0: none."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Full name of a parameter -> what its rate is multiplied by; 1 for those not named."""

    @property
    def last(self) -> int:
        """Steps that are taken."""
        return self.steps if self.stop is None else self.stop
