"""From a case's sections to recipes. Imports no torch."""

from __future__ import annotations

import re

from eddyscope.config.errors import CaseError
from eddyscope.learning.logs import LOGS
from eddyscope.learning.losses import LOSSES
from eddyscope.learning.recipe import Parities, Recipe
from eddyscope.learning.settings import Seeds, TrainingSettings, TransferSettings
from eddyscope.networks.settings import Channels

__all__ = ["check_logs", "check_training", "recipe_of_training", "recipe_of_transfer"]

POINTS = 100
"""Of the curves of a re-training that is given in steps, at the most: samples may be so few that it
passes through them thousands of times."""


def recipe_of_training(
    training: TrainingSettings, samples: int, seeds: Seeds, channels: Channels
) -> Recipe:
    """Of the base model, on so many samples."""
    steps_an_epoch = -(-samples // training.batch_size)
    return Recipe(
        steps=training.epochs * steps_an_epoch,
        batch_size=training.batch_size,
        rate=training.learning_rate,
        key=(seeds.training, 0),
        schedule=training.schedule,
        loss=LOSSES.build(training.loss, channels),
        noise=training.noise,
        rotations=training.rotations,
        reflections=Parities.of(channels) if training.reflections else None,
        accumulate=training.accumulate,
        precision=training.precision,
        compile=training.compile,
        reproducible=training.reproducible,
        keep=training.keep,
        checkpoint_every=training.checkpoint_every * steps_an_epoch,
    )


def recipe_of_transfer(
    transfer: TransferSettings, training: TrainingSettings, seeds: Seeds, channels: Channels
) -> Recipe:
    """Of every model that is made from the base model; the rate is the one in the middle."""
    batch = transfer.batch_size or training.batch_size
    steps, steps_an_epoch = transfer.steps_of(batch), -(-transfer.samples // batch)
    passes = -(-steps // (POINTS * steps_an_epoch)) if transfer.steps else 1
    return Recipe(
        steps=steps,
        batch_size=batch,
        rate=transfer.matched_rate,
        scaled_by_fan_in=transfer.scaled_by_fan_in,
        rate_from=f"transfer.{'rates' if transfer.scaled_by_fan_in else 'learning_rate'}",
        schedule=transfer.schedule,
        key=(seeds.transfer,),
        loss=LOSSES.build(transfer.loss or training.loss, channels),
        noise=training.noise if transfer.noise is None else transfer.noise,
        rotations=training.rotations,
        reflections=Parities.of(channels) if training.reflections else None,
        accumulate=training.accumulate,
        precision=training.precision,
        compile=training.compile,
        reproducible=training.reproducible,
        evaluate_every=passes * steps_an_epoch,
        checkpoint_every=training.checkpoint_every * steps_an_epoch,
    )


def check_training(
    training: TrainingSettings,
    transfer: TransferSettings,
    channels: Channels,
    without_shells: str,
) -> None:
    """CaseError where turned or mirrored samples would be no samples, or a loss lacks something.

    without_shells: why fields have no spectra by shells; empty where they have.
    """
    vectors = [name for name in channels.names if re.fullmatch(r"[uv](_\d+)?", name)]
    if training.rotations and (vectors or without_shells):
        why = f"{', '.join(vectors)} turns into another" if vectors else without_shells
        raise CaseError(f"training.rotations = true, but {why}; leave it out")
    if training.reflections and without_shells:
        raise CaseError(f"training.reflections = true, but {without_shells}; leave it out")
    if training.reflections:
        Parities.of(channels)
    for section, settings in (("training", training.loss), ("transfer", transfer.loss)):
        if settings is None:
            continue
        try:
            loss = LOSSES.build(settings, channels)
        except CaseError as error:
            raise CaseError(f"{section}.loss: {error}") from None
        if loss.needs_shells and without_shells:
            raise CaseError(
                f"{section}.loss takes spectra by shells, but {without_shells}; choose another, "
                'such as "mse"'
            )


def check_logs(training: TrainingSettings) -> None:
    """CaseError for what cannot be written here."""
    for settings in training.log:
        LOGS.build(settings).check()
