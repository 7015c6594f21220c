"""Normalisations: how fields are scaled before a network sees them, and its output after.

A way to normalise says, of a model that moves from the base system to the target, whose
statistics its fields have there:

    base         the base's own, on all systems: the model as it was trained
    target       each system's own
    dimensional  the base's own with the unit of time changed: with r = ω_rms(target) / ω_rms(base)
                 a channel of dimension T^-m has the base's mean and standard deviation × r^m
    snapshot     inputs by each snapshot's own rms, outputs by the system's own

On the base system itself the first three are alike. `dimensional` keeps the ratio of ψ to ω, and
needs no Π of the target. What each system's own statistics are is kept in
`normalisation/<system>.json`, made once and read by whoever needs them; the other ways follow from
those. Imports no torch.

    {"format": "eddyscope-normalisation-2",
     "normalisation": {"name": "target", "system": "target", "samples": 16,
                       "mean": {"psi": 0.0, …}, "std": {"psi": x, "omega": x, "pi": x},
                       "omega_rms": x, "scales": {}},
     "dataset": digest of the dataset whose samples they are,
     "digest": SHA-256 of all the rest}

The same samples give the same bytes, so that what was made with it need not be made again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from eddyscope.artefacts.json_part import fault
from eddyscope.config.arrays import RealArray
from eddyscope.config.errors import CaseError
from eddyscope.config.files import read_file
from eddyscope.config.provenance import digest
from eddyscope.parallel.failure import agree
from eddyscope.parallel.world import Comm
from eddyscope.storage.atomic import write_atomically

__all__ = [
    "WAYS",
    "Normalisation",
    "Way",
    "lacking",
    "read_normalisation",
    "statistics_of",
    "write_normalisation",
]

FORMAT = "eddyscope-normalisation-2"

Way = Literal["dimensional", "base", "target", "snapshot"]
WAYS: dict[Way, str] = {
    "dimensional": "the base's statistics, with the unit of time changed by the vorticities' ratio",
    "base": "the base's statistics",
    "target": "the target's own statistics",
    "snapshot": "each snapshot's own root mean square, outputs by the target's statistics",
}
"""Way to normalise a target's fields -> by what they are, in words."""

A = TypeVar("A")
"""An array of numpy's or a tensor."""

Pieces = Callable[[], Iterable[Mapping[str, RealArray]]]
"""Gives pieces of a rank's samples: channel or field -> (sample, …, y, x)."""

ABOUT_ZERO = re.compile(r"(psi|omega|pi|u|v)(_\d+)?")
"""Channels whose standard deviation is about zero: they have no mean on a periodic box."""

PER_TIME = {"psi": 1, "omega": 1, "u": 1, "v": 1, "strain": 1, "pi": 2}
"""Field -> m, where its dimension is T^-m times one of length."""


class Normalisation(BaseModel):
    """x -> scale · (x - mean) / std, by the name of the channel; for a network's output the inverse
    of (x - mean) / std, of scale times what it gives.

    Standard deviations are of training samples: of psi, omega, pi, u and v about zero, since these
    have zero mean on a periodic box, of others about their mean. The way "snapshot" takes those of
    a network's inputs from the snapshot at hand instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: Way
    system: str
    """Whose training samples the statistics are of."""
    samples: int
    """How many."""
    mean: dict[str, float]
    std: dict[str, float]
    omega_rms: float | None = None
    """Root mean square of the vorticity of the samples that the unit of time is of; None where
    it is not known."""
    scales: dict[str, float] = {}
    """Channel -> factor of what a network is given, or gives; 1 where there is none."""

    @model_validator(mode="after")
    def _can_scale(self) -> Self:
        if self.mean.keys() != self.std.keys():
            raise ValueError(f"means are of {list(self.mean)}, but spreads of {list(self.std)}")
        for channel, std in self.std.items():
            if not std > 0.0:
                raise ValueError(f"the standard deviation of {channel} is {std}, not above 0")
        return self

    @classmethod
    def own(
        cls, system: str, channels: Sequence[str], pieces: Pieces, comm: Comm | None = None
    ) -> Normalisation:
        """A system's own statistics of these channels, in double precision and exact sums: the
        same bits however the samples are dealt to pieces and ranks. Collective over `comm`.

        pieces: gives all samples of this rank, piece by piece, each time it is called; where they
        hold "omega", the vorticity of all layers, its root mean square is known too. CaseError if a
        standard deviation is 0, or where `pieces` raises one.
        """
        measured = _Measured(pieces, comm)
        none = dict.fromkeys(channels, 0.0)
        shifted = [channel for channel in channels if not ABOUT_ZERO.fullmatch(channel)]
        mean = none | (measured.means(shifted) if shifted else {})
        std = measured.spreads({"omega": 0.0, **mean})
        for channel in channels:
            value = std[channel]
            if not (math.isfinite(value) and value > 0.0):
                raise CaseError(
                    f"{channel} of the {system} training samples has standard deviation {value}, "
                    f"so it cannot be normalised; look at {system}/dataset.h5: is the flow at "
                    "rest, or the filter narrower than a cell?"
                )
        return cls(
            name=cast(Way, system),
            system=system,
            samples=measured.samples,
            mean=mean,
            std={channel: std[channel] for channel in channels},
            omega_rms=std.get("omega"),
        )

    def scaled_by(self, scales: Mapping[str, float]) -> Normalisation:
        """The same with these scales."""
        return self.model_copy(update={"scales": dict(scales)})

    def scaled(self, channel: str, field: A) -> A:
        """A channel of a network's input, (sample, y, x), normalised and scaled."""
        about_mean = cast(RealArray, field) - self.mean[channel]
        std: float | RealArray = self.std[channel]
        if self.name == "snapshot":
            std = (about_mean * about_mean).mean(axis=(1, 2), keepdims=True) ** 0.5
        scale = self.scales.get(channel, 1.0)
        return cast(A, about_mean / std if scale == 1.0 else about_mean / std * scale)

    def target(self, channel: str, field: RealArray) -> RealArray:
        """What a network is to give of a channel, (sample, y, x): normalised, not scaled."""
        mean, std = self.mean[channel], self.std[channel]
        result: RealArray = (field - mean) / std if mean else field / std
        return result

    def physical(self, channel: str, output: A) -> A:
        """What a network gives of a channel, scaled, in physical units."""
        factor = self.std[channel] * self.scales.get(channel, 1.0)
        return cast(A, cast(RealArray, output) * factor + self.mean[channel])


def statistics_of(way: Way, base: Normalisation, system: Normalisation) -> Normalisation:
    """The normalisation of a system's fields under a way.

    base, system: own statistics of the base and of that system. Raises CaseError where the way
    cannot be had, see `lacking`.
    """
    if way != "dimensional":
        chosen = base if way == "base" else system
        return chosen.model_copy(update={"name": way})
    theirs, ours = system.omega_rms, base.omega_rms
    why = lacking(way, base.std, {"base": ours, system.system: theirs})
    if why or theirs is None or ours is None:
        raise CaseError(f'normalisation = "{way}" cannot be had: {why}')
    ratio = theirs / ours
    return base.model_copy(
        update={
            "name": way,
            "mean": {name: value * ratio ** _per_time(name) for name, value in base.mean.items()},
            "std": {name: value * ratio ** _per_time(name) for name, value in base.std.items()},
            "omega_rms": theirs,
        }
    )


def lacking(way: Way, channels: Iterable[str], vorticity: Mapping[str, float | None]) -> str:
    """Why a way cannot be had, and what can; empty if it can.

    vorticity: system -> its root mean square, None where it is not known.
    """
    if way != "dimensional":
        return ""
    others = 'set it to "base" or "target"'
    unknown = [name for name in channels if _field_of(name) is None]
    if unknown:
        return f"the dimension of {', '.join(unknown)} is not known; {others}"
    for system, rms in vorticity.items():
        if not rms:
            known = "is not known" if rms is None else "is 0"
            return f"the vorticity of the {system} {known}; {others}"
    return ""


def _field_of(channel: str) -> str | None:
    """The field of known dimension that a channel is of: psi of "psi" and of "psi_2"."""
    field = re.sub(r"_\d+$", "", channel)
    return field if field in PER_TIME else None


def _per_time(channel: str) -> int:
    return PER_TIME[_field_of(channel) or ""]


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


class _Measured:
    """Sums over all samples of all ranks: float64 a sample, then added exactly. Collective."""

    def __init__(self, pieces: Pieces, comm: Comm | None):
        self.pieces, self.comm = pieces, comm
        self.samples = 0

    def means(self, channels: Sequence[str]) -> dict[str, float]:
        """Of fields, over all samples and points."""
        return self._averages(lambda _, sample: sample, channels)

    def spreads(self, means: Mapping[str, float]) -> dict[str, float]:
        """√(mean of squares) about means, of those fields that there are."""

        def square(name: str, sample: RealArray) -> RealArray:
            return np.square(_less(sample, means[name]), dtype=np.float64)

        return {name: math.sqrt(value) for name, value in self._averages(square, means).items()}

    def _averages(
        self, of: Callable[[str, RealArray], RealArray], names: Iterable[str]
    ) -> dict[str, float]:
        def mine() -> dict[str, list[tuple[float, int]]]:
            found: dict[str, list[tuple[float, int]]] = {}
            for piece in self.pieces():
                for name in names:
                    sums = found.setdefault(name, [])
                    for sample in piece.get(name, ()):
                        sums.append(
                            (float(np.sum(of(name, sample), dtype=np.float64)), sample.size)
                        )
            return found

        comm = self.comm
        ranks = [mine()] if comm is None else comm.allgather(agree(comm, mine))
        joined = {name: [s for found in ranks for s in found.get(name, ())] for name in names}
        self.samples = max(map(len, joined.values()))
        return {
            name: math.fsum(total for total, _ in sums) / sum(size for _, size in sums)
            for name, sums in joined.items()
            if sums
        }


def _less(sample: RealArray, mean: float) -> RealArray:
    """A sample about a mean."""
    return sample.astype(np.float64) - mean if mean else sample
