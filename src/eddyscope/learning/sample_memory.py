"""What samples take of main memory: whether all are held there, or each is read when it is used.
Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from eddyscope.parallel.memory import shareable
from eddyscope.parallel.world import World

__all__ = ["AHEAD", "SampleMemory"]

AHEAD = 3
"""Batches that are read ahead of the one in use. Another one that is being read and normalised
takes the memory of up to three."""


@dataclass(frozen=True)
class SampleMemory:
    """What the samples of a training take of memory, and what they may."""

    counts: tuple[int, int]
    """Samples to train on, and to validate with."""
    shape: tuple[int, int, int]
    """(channel, y, x) of one."""
    parts: tuple[int, int]
    """Samples of a rank's part of a batch of either."""
    limit: float
    """Bytes that they may take of a machine."""

    @classmethod
    def of(
        cls,
        world: World,
        counts: tuple[int, int],
        shape: tuple[int, int, int],
        batch: int,
        limit: float | None,
    ) -> SampleMemory:
        """batch: samples of a batch, on all ranks together; limit: in GiB, see
        `TrainingSettings.memory`. Collective."""
        ranks, (training, validation) = world.size, counts
        parts = min(-(-batch // ranks), training), min(batch, -(-validation // ranks))
        given = shareable(world.comm, None if limit is None else limit * 2**30)
        return cls(counts, shape, parts, given)

    @property
    def all_of_them(self) -> int:
        """Bytes of all samples."""
        return sum(self.counts) * self._bytes

    @property
    def holds_all(self) -> bool:
        """Whether all samples are held in memory."""
        return self.all_of_them <= self.limit

    @property
    def of_a_rank(self) -> int:
        """Bytes that a rank needs at the most where samples are read when they are used: of each
        part the first sample is kept besides."""
        return sum((AHEAD + 4) * (part + 1) * self._bytes for part in self.parts if part)

    @property
    def _bytes(self) -> int:
        return 4 * math.prod(self.shape)

    @property
    def words(self) -> str:
        """What they are, and what becomes of them."""
        training, validation = self.counts
        _, ny, nx = self.shape
        told = (
            f"{training} for training, {validation} for validation, {nx} x {ny} points, "
            f"{self.all_of_them / 2**20:.1f} MiB"
        )
        if self.holds_all:
            return f"{told} in memory, one copy a machine"
        return (
            f"{told}, read while it trains ({self.limit / 2**20:.1f} MiB of a machine are theirs), "
            f"{self.of_a_rank / 2**20:.1f} MiB on each rank"
        )
