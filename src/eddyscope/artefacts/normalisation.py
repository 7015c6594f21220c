"""Normalisations in use: `normalisation/<name>.json`, made once and read by whoever needs them.

How fields are scaled before a network sees them, and its output after. Imports no torch.

    {"format": "eddyscope-normalisation-1",
     "normalisation": {"name": "target", "kind": "own", "system": "target", "samples": 16,
                       "mean": {"psi": 0.0, …}, "std": {"psi": x, "omega": x, "pi": x}},
     "dataset": digest of the dataset whose samples they are,
     "digest": SHA-256 of all the rest}

The same samples give the same bytes, so that what was made with it need not be made again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from eddyscope.artefacts.json_part import fault
from eddyscope.config.arrays import RealArray
from eddyscope.config.errors import CaseError
from eddyscope.config.files import read_file
from eddyscope.config.provenance import digest
from eddyscope.storage.atomic import write_atomically

__all__ = ["Normalisation", "read_normalisation", "write_normalisation"]

FORMAT = "eddyscope-normalisation-1"

ABOUT_ZERO = re.compile(r"(psi|omega|pi|u|v)(_\d+)?")
"""Channels whose standard deviation is about zero: they have no mean on a periodic box."""


class Normalisation(BaseModel):
    """x -> (x - mean) / std, by the name of the channel.

    The kind "own" takes the standard deviations of training samples: of psi, omega, pi, u and v
    about zero, since these have zero mean on a periodic box, of others about their mean. The kind
    "per_snapshot" takes those of a network's inputs from the snapshot at hand instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str
    """Such as "base" or "target": what it is called in the names of models."""
    kind: Literal["own", "per_snapshot"] = "own"
    system: str
    """Whose training samples were used."""
    samples: int
    """How many."""
    mean: dict[str, float]
    std: dict[str, float]

    @model_validator(mode="after")
    def _can_scale(self) -> Self:
        if self.mean.keys() != self.std.keys():
            raise ValueError(f"means are of {list(self.mean)}, but spreads of {list(self.std)}")
        for channel, std in self.std.items():
            if not std > 0.0:
                raise ValueError(f"the standard deviation of {channel} is {std}, not above 0")
        return self

    @classmethod
    def own(cls, system: str, fields: Mapping[str, RealArray], name: str = "") -> Normalisation:
        """Statistics of channels, each (sample, y, x), in double precision and a fixed order;
        called after the system unless it has a `name`. CaseError if one is 0."""
        mean = {channel: _mean(channel, field) for channel, field in fields.items()}
        std = {channel: _rms(field, mean[channel]) for channel, field in fields.items()}
        for channel, value in std.items():
            if not (math.isfinite(value) and value > 0.0):
                raise CaseError(
                    f"{channel} of the {system} training samples has standard deviation {value}, "
                    f"so it cannot be normalised; look at {system}/dataset.h5: is the flow at "
                    "rest, or the filter narrower than a cell?"
                )
        count = len(next(iter(fields.values())))
        return cls(name=name or system, system=system, samples=count, mean=mean, std=std)

    def scaled(self, channel: str, field: RealArray) -> RealArray:
        """A channel of a network's input, (sample, y, x), normalised; of a tensor a tensor."""
        std: Any = self.std[channel]
        if self.kind == "per_snapshot":  # not by std: torch's has another divisor than numpy's
            about = field - field.mean(axis=(1, 2), keepdims=True)
            std = (about * about).mean(axis=(1, 2), keepdims=True) ** 0.5
        result: RealArray = (field - self.mean[channel]) / std
        return result

    def target(self, channel: str, field: RealArray) -> RealArray:
        """What a network is to give of a channel, (sample, y, x), normalised."""
        mean, std = self.mean[channel], self.std[channel]
        result: RealArray = (field - mean) / std if mean else field / std
        return result

    def physical(self, channel: str, output: RealArray) -> RealArray:
        """The inverse of `target`."""
        mean, std = self.mean[channel], self.std[channel]
        result: RealArray = output * std + mean if mean else output * std
        return result

    def per_snapshot(self) -> Normalisation:
        """The same, inputs by each snapshot's own standard deviation."""
        return self.model_copy(update={"kind": "per_snapshot", "name": "per_snapshot"})


def write_normalisation(path: Path, normalisation: Normalisation, dataset: str) -> None:
    """Write the artefact, whole or not at all; `dataset` is its digest. Not collective."""
    content = {
        "format": FORMAT,
        "normalisation": normalisation.model_dump(mode="json"),
        "dataset": dataset,
    }
    write_atomically(path, json.dumps({**content, "digest": digest(content)}, indent=1) + "\n")


def read_normalisation(path: Path) -> Normalisation:
    """Read the artefact and verify it. Not collective.

    Raises CaseError for a file that is missing, damaged, or of another kind.
    """
    try:
        content: Any = json.loads(read_file(path))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"not a file of format {FORMAT}")
        if content.pop("digest", None) != digest(content):
            raise ValueError("its contents do not match their SHA-256")
        return Normalisation.model_validate(content["normalisation"])
    except FileNotFoundError:
        raise CaseError(
            f"{path}: no such normalisation; run `eddyscope train` or `transfer`, which make it"
        ) from None
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise CaseError(
            f"{path}: not a usable normalisation ({_one_line(error)}); make it again with --fresh"
        ) from None


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return fault(error)
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _mean(channel: str, field: RealArray) -> float:
    """That of a channel's samples; 0 of those that have none on a periodic box."""
    if ABOUT_ZERO.fullmatch(channel):
        return 0.0
    sums = [float(np.sum(sample, dtype=np.float64)) for sample in field]
    return math.fsum(sums) / max(field.size, 1)


def _rms(field: RealArray, mean: float) -> float:
    """√(mean of squares) about a mean: float64, sample by sample, then summed exactly."""
    sums = [float(np.sum(np.square(_less(sample, mean), dtype=np.float64))) for sample in field]
    return math.sqrt(math.fsum(sums) / max(field.size, 1))


def _less(sample: RealArray, mean: float) -> RealArray:
    """A sample about a mean."""
    return sample.astype(np.float64) - mean if mean else sample
