"""Settings of training and of transfer. Imports no torch, so that stages
which only read the case start fast on many ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from eddyscope.artefacts.key import LAYERS, ModelKey
from eddyscope.artefacts.normalisation import Way
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.files import FileName
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.registry import Choice
from eddyscope.config.units import Unit
from eddyscope.learning.adaptations.base import Adaptation
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.logs import LOGS, Jsonl
from eddyscope.learning.losses import LOSSES, Mse
from eddyscope.learning.recipe import Precision
from eddyscope.learning.schedule import Schedule

__all__ = ["Seeds", "TrainingSettings", "TransferSettings", "middle"]

Value = TypeVar("Value", str, float)

EPOCHS = 50
"""Of transfer, where neither epochs nor steps are given."""


class Seeded(Section):
    """A section with a seed of its own: another one needs no other simulation."""

    # What decides is the seed in use, `Case.seeds`, not which section it was written in.
    seed: Annotated[int | None, CHANGES_NO_RESULT] = Field(default=None, ge=0, lt=2**63)
    """Of random weights, of the order of the samples and of their rotations; by default the
    case's seed."""


@dataclass(frozen=True)
class Seeds:
    """The seeds in use."""

    training: int
    transfer: int

    @classmethod
    def of(cls, seed: int, training: Seeded, transfer: Seeded) -> Seeds:
        """Each section's own, or else the case's `seed`."""
        return cls(*(seed if s.seed is None else s.seed for s in (training, transfer)))


class TrainingSettings(Seeded):
    """`[training]`: mean squared error of the normalised Π, Adam."""

    # What decides is what the file holds.
    model: Annotated[FileName | None, CHANGES_NO_RESULT] = None
    """A base model that is there already, made by `train` of another case: it is used in place of
    training, and never written. It decides the network and the normalisation of the base."""
    epochs: int = Field(default=100, ge=0)
    """Passes through the samples; 0 takes the network as it begins, with the weights that it names,
    for the base model."""
    batch_size: int = Field(default=16, ge=1)
    """Samples a step on all ranks together."""
    learning_rate: float = Field(default=5e-5, gt=0.0)
    """Of Adam, the same for all weights."""
    schedule: Schedule = "constant"
    """Of the learning rate: "cosine" rises over the first 5 % of the steps and falls to 0 over the
    others."""
    samples: int | None = Field(default=None, ge=1)
    """Base samples to train on, taken evenly from the training members; by default all."""
    normalisation: Literal["base", "snapshot"] = "base"
    """How fields are normalised: by the statistics of the base's training samples, or inputs by
    each snapshot's own root mean square."""
    rotations: bool = False
    """Turn every sample by a random multiple of 90°: psi, omega, pi and strain are true scalars.
    Not for u and v, nor for fields between walls or on a rectangle; of others you must know."""
    reflections: bool = False
    """Mirror every other sample, at random, in y -> −y: psi, omega and pi then change their sign,
    strain does not. For networks of these fields alone; not for fields between walls or on a
    rectangle."""
    loss: Annotated[Section, Choice(LOSSES)] = Mse.Settings()
    """What training makes small."""
    noise: float = Field(default=0.0, ge=0.0)
    """Standard deviation of white noise that is added to the normalised inputs."""
    accumulate: int = Field(default=1, ge=1)
    """Passes that a batch is split into, which takes less memory and changes rounding alone; batch
    normalisation then sees the parts."""
    precision: Precision = "float32"
    """Of products: "tf32" on GPUs that have it, "bf16" by torch's autocast. Weights and losses are
    float32."""
    compile: bool = False
    """Let torch compile the network, which takes a minute at first; on a CPU it needs a C++
    compiler."""
    reproducible: bool = False
    """The same bits on 1 to 8 ranks: a batch always has 8 parts, whose gradients are added in
    order. Slower where a rank's part of a batch is small; not with batch normalisation."""
    memory: Annotated[float | None, CHANGES_NO_RESULT, Unit("GiB")] = Field(default=None, ge=0.0)
    """Main memory of a machine that the base's samples may take, one copy for all its ranks; by
    default half of what there is. Samples that take more are read from the file while it trains,
    ahead of the steps: the same bits."""
    keep: Literal["last", "best"] = "last"
    """Which weights of the base training are its result: the last, or those of the epoch with the
    least loss on validation members."""
    checkpoint_every: Annotated[int, CHANGES_NO_RESULT] = Field(default=10, ge=1)
    """Epochs between checkpoints; checkpoint.seconds holds too."""
    log: Annotated[list[Annotated[Section, Choice(LOGS)]], CHANGES_NO_RESULT] = [Jsonl.Settings()]
    """What base training and re-training write beside each model while they run: a line of JSON an
    epoch, curves for TensorBoard."""


class TransferSettings(Seeded):
    """`[transfer]`: adapting the base model to a few target samples."""

    ALTERNATIVES = (("epochs", "steps"), ("learning_rate", "rates"))

    samples: int = Field(default=20, ge=1)
    """Target samples to re-train on, taken evenly from the training members."""
    normalisation: Way = "dimensional"
    """How the target's fields are normalised for re-training, and in the models it makes: by the
    base's statistics with the unit of time changed by the ratio of vorticities ("dimensional"), by
    the base's as they are ("base"), by the target's own ("target"), or inputs by each snapshot's
    own root mean square and outputs by the target's own ("snapshot"). A model from random weights
    ("scratch") takes the target's own in any case."""
    # These three say which models there are; each of them is decided by the rest. So one more
    # model leaves the others as they are.
    layers: Annotated[Literal["each", "pairs"] | list[str], CHANGES_NO_RESULT] = "each"
    """Which layers to re-train: each alone, all pairs, or a list such as ["l02", "l02+l05"], in
    which "first" and "last" stand for the network's, and "each" and "pairs" for all of them."""
    controls: Annotated[list[Annotated[Any, Choice(ADAPTATIONS)]], CHANGES_NO_RESULT] = [
        "scale", "three_scales", "gain", "all", "scratch"
    ]  # fmt: skip
    """Compared with them: one factor of the output; one of every input and output; one of every
    channel of every layer; all layers; all layers from random weights. The first two take no
    steps. Adaptations with parameters are tables."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes through the samples; by default 50, unless steps is given."""
    steps: int | None = Field(default=None, ge=1)
    """Updates of the weights, in place of epochs."""
    batch_size: int | None = Field(default=None, ge=1)
    """By default training.batch_size."""
    rates: Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=1)] = [
        0.005, 0.01, 0.02
    ]  # fmt: skip
    """How far a step may move what a layer gives, about: the learning rate of a weight tensor is
    rate / √fan_in, fan_in the inputs of one of the layer's output values; gains and others without
    inputs count as 400. So 0.02 is 0.001 for 16 channels and a kernel of 5 x 5. Of several, each
    model's is chosen, see recipes."""
    learning_rate: float | None = Field(default=None, gt=0.0)
    """Of Adam, the same for all weights; in place of rates."""
    recipes: Annotated[list[Literal["chosen", "matched"]], Field(min_length=1)] = ["chosen"]
    """How each model is re-trained: "chosen", with the rate and the steps that leave the least
    error on target samples held out of the few there are; "matched", all with the rate in the
    middle (of an even number the lower of the two there) and all steps, so that they differ in
    nothing else. Both are compared if both are named."""
    folds: int | None = Field(default=None, ge=1)
    """Parts of the samples that are held out in turn to choose; 1: every fourth sample, once. By
    default 1 from 16 samples on, else 4 or as many as there are. From one sample nothing can be
    chosen."""
    schedule: Schedule = "cosine"
    """Of the learning rate, see training.schedule."""
    loss: Annotated[Section, Choice(LOSSES)] | None = None
    """By default training.loss."""
    noise: float | None = Field(default=None, ge=0.0)
    """By default training.noise."""
    seeds: Annotated[int, CHANGES_NO_RESULT] = Field(default=1, ge=1, le=1000)
    """Repeats with other orders of the samples (and other random weights for scratch)."""

    @field_validator("recipes", "rates")
    @classmethod
    def _each_once(cls, given: list[Value]) -> list[Value]:
        again = next((value for value in given if given.count(value) > 1), None)
        if again is not None:
            raise ValueError(f"has {again!r} twice; give each value once")
        return sorted(given)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(
                f"epochs = {self.epochs} and steps = {self.steps} both say how long; give one"
            )
        if self.learning_rate is not None and "rates" in self.model_fields_set:
            raise ValueError(
                f"learning_rate = {self.learning_rate:g} and rates = {self.rates} both say how "
                "fast; give one"
            )
        return self

    @property
    def grid(self) -> list[float]:
        """The rates to choose from, the least first."""
        return self.rates if self.learning_rate is None else [self.learning_rate]

    @property
    def matched_rate(self) -> float:
        """That of what is not chosen, see `middle`."""
        return middle(self.grid)

    @property
    def scaled_by_fan_in(self) -> bool:
        """Whether they are in units of 1/√fan_in."""
        return self.learning_rate is None

    def steps_of(self, batch_size: int) -> int:
        """Updates of the weights that a model takes."""
        return self.steps or (self.epochs or EPOCHS) * -(-self.samples // batch_size)

    def reads_base(self, adaptation: Adaptation) -> bool:
        """Whether it looks at samples of the base too."""
        return adaptation.base_samples(self.samples) > 0

    @field_validator("layers")
    @classmethod
    def _named(cls, layers: str | list[str]) -> str | list[str]:
        if isinstance(layers, str):
            return layers
        for text in layers:
            if not _names_layers(text):
                raise ValueError(
                    f'{text!r} is not of the form "l02" or "l02+l05", nor "first", "last", "each" '
                    'or "pairs"'
                )
        if not layers:
            raise ValueError('is empty; name layers, or set layers = "each"')
        return layers


def middle(rates: Sequence[float]) -> float:
    """The rate in the middle; of an even number the lower of the two there, which is the safer."""
    return sorted(rates)[(len(rates) - 1) // 2]


def _names_layers(text: str) -> bool:
    if text in ("each", "pairs"):
        return True
    parts = ["l00" if part in ("first", "last") else part for part in text.split("+")]
    try:
        return ModelKey("+".join(parts)).kind == LAYERS and "(" not in text
    except CaseError:
        return False
