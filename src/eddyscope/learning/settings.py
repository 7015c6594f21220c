"""Settings of training and of transfer. Imports no torch, so that stages
which only read the case start fast on many ranks."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT

__all__ = ["TrainingSettings", "TransferSettings"]


class TrainingSettings(Section):
    """`[training]`: mean squared error of the normalised Π, Adam."""

    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=16, ge=1)
    """Samples a step on all ranks together."""
    learning_rate: float = Field(default=5e-5, gt=0.0)
    samples: int | None = Field(default=None, ge=1)
    """Base samples to train on, taken evenly from the training members; by default all."""
    rotations: bool = False
    """Turn every sample by a random multiple of 90° (psi, omega and pi are true scalars)."""
    checkpoint_every: Annotated[int, CHANGES_NO_RESULT] = Field(default=10, ge=1)
    """Epochs between checkpoints."""


class TransferSettings(Section):
    """`[transfer]`: re-training parts of the base model on a few target samples."""

    samples: int = Field(default=20, ge=1)
    """Target samples to re-train on, taken evenly from the training members."""
    layers: Literal["each"] | list[str] = "each"
    """Which layers to re-train: each alone, or a list such as ["l02", "l02+l05"]."""
    controls: list[Literal["gain", "all", "scratch"]] = ["gain", "all", "scratch"]
    """Compared with them: one scale a channel; all layers; all layers from random weights."""
    epochs: int = Field(default=50, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    """By default training.batch_size."""
    learning_rate: float | None = Field(default=None, gt=0.0)
    """By default training.learning_rate."""
    seeds: int = Field(default=1, ge=1, le=1000)
    """Repeats with other orders of the samples (and other random weights for scratch)."""

    @field_validator("layers")
    @classmethod
    def _named(cls, layers: str | list[str]) -> str | list[str]:
        if isinstance(layers, str):
            return layers
        for name in layers:
            if not re.fullmatch(r"l\d\d(\+l\d\d)*", name):
                raise ValueError(f'{name!r} is not of the form "l02" or "l02+l05"')
        if not layers:
            raise ValueError('is empty; name layers, or set layers = "each"')
        return layers
