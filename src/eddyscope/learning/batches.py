"""Samples in memory: the same on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.errors import CaseError
from eddyscope.networks.closure_network import INPUTS
from eddyscope.parallel.world import block

__all__ = ["Fields", "Samples", "choose", "load_fields"]


@dataclass(frozen=True)
class Fields:
    """Fields in physical units, float32, each (sample, y, x), with their origin."""

    psi: NDArray[Any]
    omega: NDArray[Any]
    pi: NDArray[Any]
    origin: tuple[tuple[int, int], ...]
    """(member, sample) of each in the dataset."""

    def by_name(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {"psi": self.psi, "omega": self.omega, "pi": self.pi}

    def first(self, count: int) -> Fields:
        """The first `count` of them."""
        return Fields(self.psi[:count], self.omega[:count], self.pi[:count], self.origin[:count])


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
            array[mine] = dataset.read(n, name, [member], span)[0, times - span.start, 0]
    return Fields(fields["psi"], fields["omega"], fields["pi"], tuple(origin))
