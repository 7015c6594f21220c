"""The order in which training sees samples, and how they are turned and mirrored.

It depends on the seed and the step alone: a training that goes on at any step, on any number of
ranks, sees what an unbroken one sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eddyscope.config.arrays import BoolArray, IntArray
from eddyscope.config.streams import stream
from eddyscope.parallel.world import block

__all__ = ["Batch", "Order"]


@dataclass(frozen=True)
class Batch:
    """A batch or a part of one: indices of samples, and for each whether it is mirrored and by how
    many quarter turns it is then turned."""

    epoch: int
    """Passes through the samples before this one."""
    indices: IntArray
    turns: IntArray
    mirrors: BoolArray
    total: int
    """Samples of the whole batch."""

    def part(self, index: int, parts: int) -> Batch:
        """One of `parts` contiguous parts, the larger ones first; it may have no samples."""
        return self._of(block(len(self.indices), parts, index))

    def stand_in(self) -> Batch:
        """For a part without samples one that does not count: not every network takes none."""
        if len(self.indices):
            return self
        none = np.zeros(1, np.int64)
        return replace(self, indices=none, turns=none, mirrors=np.zeros(1, bool))

    def _of(self, mine: slice) -> Batch:
        indices, turns, mirrors = self.indices[mine], self.turns[mine], self.mirrors[mine]
        return replace(self, indices=indices, turns=turns, mirrors=mirrors)


@dataclass(frozen=True)
class Order:
    """One permutation of all samples an epoch, cut into batches; the last may be smaller.

    Rotations and reflections belong to the sample and the epoch.
    """

    count: int
    """Of all samples."""
    batch_size: int
    key: Sequence[int]
    rotations: bool = False
    reflections: bool = False

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
        mirrors = np.zeros(self.count, bool)
        if self.reflections:
            mirrors = stream("reflection", *self.key, epoch).integers(0, 2, self.count) == 1
        for start in range(first * self.batch_size, self.count, self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield Batch(epoch, chosen, turns[chosen], mirrors[chosen], len(chosen))
