"""Samples in memory and their normalisation: the same on every rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eddyscope.config.case import CaseError
from eddyscope.dataset.reader import Dataset
from eddyscope.learning.network import INPUTS
from eddyscope.parallel.world import block

__all__ = ["Fields", "Normalisation", "Samples", "choose", "load_fields"]


@dataclass(frozen=True)
class Fields:
    """Fields in physical units, float32, each (sample, y, x), with their origin."""

    psi: NDArray[Any]
    omega: NDArray[Any]
    pi: NDArray[Any]
    origin: tuple[tuple[int, int], ...]
    """(member, sample) of each in the dataset."""

    def first(self, count: int) -> Fields:
        """The first `count` of them."""
        return Fields(self.psi[:count], self.omega[:count], self.pi[:count], self.origin[:count])


@dataclass(frozen=True)
class Normalisation:
    """x -> (x - mean) / std for psi and omega, pi -> pi / std. Stored with every model.

    The kind "own" takes each system's own training samples: the standard deviations of
    psi, omega and pi about zero, since all three have zero mean on a periodic box. The
    kind "per_snapshot" takes those of psi and omega from the snapshot at hand instead.
    """

    kind: str
    system: str
    psi_mean: float
    psi_std: float
    omega_mean: float
    omega_std: float
    pi_std: float

    @classmethod
    def own(cls, system: str, fields: Fields) -> Normalisation:
        """Statistics of `fields`, in double precision and a fixed order. CaseError if one is 0."""
        stds = {name: _rms(getattr(fields, name)) for name in ("psi", "omega", "pi")}
        for name, std in stds.items():
            if not (math.isfinite(std) and std > 0.0):
                raise CaseError(
                    f"{name} of the {system} training samples has standard deviation {std}, so it "
                    f"cannot be normalised; look at {system}/dataset.h5: is the flow at rest, or "
                    "the filter narrower than a cell?"
                )
        return cls("own", system, 0.0, stds["psi"], 0.0, stds["omega"], stds["pi"])

    def inputs(self, psi: NDArray[Any], omega: NDArray[Any]) -> Tensor:
        """Normalised psi and omega as one float32 tensor (sample, 2, y, x)."""
        psi_std: Any = self.psi_std
        omega_std: Any = self.omega_std
        if self.kind == "per_snapshot":
            psi_std, omega_std = (field.std(axis=(1, 2), keepdims=True) for field in (psi, omega))
        scaled = [(psi - self.psi_mean) / psi_std, (omega - self.omega_mean) / omega_std]
        return torch.from_numpy(np.stack(scaled, axis=1).astype(np.float32))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Samples:
    """Normalised float32 samples: inputs (sample, 2, y, x), targets (sample, 1, y, x)."""

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, fields: Fields, normalisation: Normalisation) -> Samples:
        targets = torch.from_numpy((fields.pi / normalisation.pi_std).astype(np.float32))
        return cls(normalisation.inputs(fields.psi, fields.omega), targets.unsqueeze(1))

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> Samples:
        return Samples(self.inputs.to(device), self.targets.to(device))


def choose(members: Sequence[int], samples: int, count: int | None) -> list[tuple[int, int]]:
    """`count` pairs (member, sample): members in turn, the samples of each evenly in time.

    All of them if `count` is None. CaseError if there are too few.
    """
    available = len(members) * samples
    if count is None:
        count = available
    if count > available:
        raise CaseError(
            f"{count} samples are asked for, but there are {len(members)} member(s) of {samples} "
            f"samples = {available}; ask for at most {available}, or simulate more"
        )
    shares = [block(count, len(members), i) for i in range(len(members))]
    per_member = [part.stop - part.start for part in shares]
    return [
        (member, ((2 * turn + 1) * samples) // (2 * per_member[i]))
        for turn in range(max(per_member, default=0))
        for i, member in enumerate(members)
        if turn < per_member[i]
    ]


def load_fields(dataset: Dataset, n: int, part: str, count: int | None = None) -> Fields:
    """`count` samples of a part ("train", "validation", "test") on grid `n`; see `choose`.

    Not collective. Raises CaseError.
    """
    members = list(dataset.parts[part])
    try:
        origin = choose(members, dataset.samples, count)
    except CaseError as error:
        raise CaseError(f"{dataset.path} ({part}): {error}") from None
    fields = {name: np.empty((len(origin), n, n), np.float32) for name in (*INPUTS, "pi")}
    for member in members:
        mine = [i for i, (m, _) in enumerate(origin) if m == member]
        if not mine:
            continue
        times = np.array([origin[i][1] for i in mine])
        span = slice(int(times.min()), int(times.max()) + 1)
        for name, array in fields.items():
            array[mine] = dataset.read(n, name, [member], span)[0][times - span.start]
    return Fields(fields["psi"], fields["omega"], fields["pi"], tuple(origin))


def _rms(field: NDArray[Any]) -> float:
    """√(mean of squares): float64, sample by sample, then summed exactly."""
    sums = [float(np.sum(np.square(sample, dtype=np.float64))) for sample in field]
    return math.sqrt(math.fsum(sums) / max(field.size, 1))
