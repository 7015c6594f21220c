"""The order in which training sees samples, and their rotations.

It depends on the seed and the step alone: a training that goes on at any step, on any number of
ranks, sees what an unbroken one sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eddyscope.config.streams import stream
from eddyscope.parallel.world import block

__all__ = ["Batch", "Order", "rotated"]


@dataclass(frozen=True)
class Batch:
    """A batch or a part of one: indices of samples, and quarter turns of each."""

    epoch: int
    """Passes through the samples before this one."""
    indices: NDArray[np.int64]
    turns: NDArray[np.int64]
    total: int
    """Samples of the whole batch."""

    def part(self, index: int, parts: int) -> Batch:
        """One of `parts` contiguous parts, the larger ones first; it may have no samples."""
        mine = block(len(self.indices), parts, index)
        return replace(self, indices=self.indices[mine], turns=self.turns[mine])


@dataclass(frozen=True)
class Order:
    """One permutation of all samples an epoch, cut into batches; the last may be smaller.

    Rotations belong to the sample and the epoch.
    """

    count: int
    """Of all samples."""
    batch_size: int
    key: Sequence[int]
    rotations: bool = False

    @property
    def steps_an_epoch(self) -> int:
        return -(-self.count // self.batch_size)

    def batches(self, step: int = 0) -> Iterator[Batch]:
        """The batches of this step, counted from 0, and of all after it, without end."""
        epoch, first = divmod(step, self.steps_an_epoch)
        while True:
            yield from self._of_epoch(epoch, first)
            epoch, first = epoch + 1, 0

    def _of_epoch(self, epoch: int, first: int) -> Iterator[Batch]:
        order = stream("order", *self.key, epoch).permutation(self.count)
        turns = np.zeros(self.count, np.int64)
        if self.rotations:
            turns = stream("rotation", *self.key, epoch).integers(0, 4, self.count)
        for start in range(first * self.batch_size, self.count, self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield Batch(epoch, chosen, turns[chosen], len(chosen))


def rotated(fields: Tensor, turns: NDArray[np.int64]) -> Tensor:
    """Each sample of `fields` (sample, channel, y, x) turned by its number of quarter turns.

    psi, omega and pi are true scalars: turning the flow turns them and changes no sign.
    """
    if not turns.any():
        return fields
    result = torch.empty_like(fields)
    for turn in range(4):
        chosen = torch.from_numpy(np.flatnonzero(turns == turn)).to(fields.device)
        result[chosen] = torch.rot90(fields[chosen], turn, dims=(2, 3))
    return result
