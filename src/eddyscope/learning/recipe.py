"""How to train: all that decides a result together with the network and the samples. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eddyscope.learning.schedule import Schedule
from eddyscope.learning.settings import Seeds, TrainingSettings, TransferSettings

__all__ = ["Recipe", "recipe_of_training", "recipe_of_transfer"]

POINTS = 100
"""Of the curves of a re-training that is given in steps, at the most: samples may be so few that it
passes through them thousands of times."""


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
    schedule: Schedule = "constant"
    rotations: bool = False
    evaluate_every: int = 0
    """Steps between the points of the curves; 0: one pass through the samples."""
    checkpoint_every: int = 0
    """Steps between checkpoints; 0: none."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Full name of a parameter -> what its rate is multiplied by; 1 for those not named."""


def recipe_of_training(training: TrainingSettings, samples: int, seeds: Seeds) -> Recipe:
    """Of the base model, on so many samples."""
    steps_an_epoch = -(-samples // training.batch_size)
    return Recipe(
        steps=training.epochs * steps_an_epoch,
        batch_size=training.batch_size,
        rate=training.learning_rate,
        key=(seeds.training, 0),
        schedule=training.schedule,
        rotations=training.rotations,
        checkpoint_every=training.checkpoint_every * steps_an_epoch,
    )


def recipe_of_transfer(
    transfer: TransferSettings, training: TrainingSettings, seeds: Seeds
) -> Recipe:
    """Of every model that is made from the base model; the rate is the one in the middle."""
    batch = transfer.batch_size or training.batch_size
    steps, steps_an_epoch = transfer.steps_of(batch), -(-transfer.samples // batch)
    passes = -(-steps // (POINTS * steps_an_epoch)) if transfer.steps else 1
    return Recipe(
        steps=steps,
        batch_size=batch,
        rate=transfer.grid[len(transfer.grid) // 2],
        scaled_by_fan_in=transfer.scaled_by_fan_in,
        schedule=transfer.schedule,
        key=(seeds.transfer,),
        rotations=training.rotations,
        evaluate_every=passes * steps_an_epoch,
        checkpoint_every=training.checkpoint_every * steps_an_epoch,
    )
