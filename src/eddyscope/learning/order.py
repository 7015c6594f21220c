"""The order in which training sees samples, and their rotations.

Nothing here depends on the rank but which slice of a batch it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eddyscope.config.streams import stream
from eddyscope.parallel.world import block

__all__ = ["Batch", "batches", "rotated"]


@dataclass(frozen=True)
class Batch:
    """This rank's part of a global batch: indices of samples, and quarter turns of each."""

    indices: NDArray[np.int64]
    turns: NDArray[np.int64]
    total: int
    """Samples of the batch on all ranks."""


def batches(
    count: int,
    batch_size: int,
    key: Sequence[int],
    epoch: int,
    rank: int = 0,
    size: int = 1,
    rotations: bool = False,
) -> Iterator[Batch]:
    """The batches of an epoch, as rank `rank` of `size` sees them.

    One permutation of all samples an epoch; every rank takes its block of each batch. The
    last batch may be smaller, and a rank's block empty. Rotations belong to the sample.
    """
    order = stream("order", *key, epoch).permutation(count)
    turns = np.zeros(count, np.int64)
    if rotations:
        turns = stream("rotation", *key, epoch).integers(0, 4, count)
    for start in range(0, count, batch_size):
        whole = order[start : start + batch_size]
        mine = whole[block(len(whole), size, rank)]
        yield Batch(mine, turns[mine], len(whole))


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
