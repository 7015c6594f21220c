"""Samples seen otherwise: turned, mirrored, with noise. Each belongs to the sample and the epoch,
never to a rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from eddyscope.config.arrays import BoolArray, IntArray
from eddyscope.config.streams import integer_seed

__all__ = ["mirrored", "noisy", "rotated"]


def rotated(fields: Tensor, turns: IntArray) -> Tensor:
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


def mirrored(fields: Tensor, chosen: BoolArray, signs: Sequence[int]) -> Tensor:
    """Those samples of `fields` (sample, channel, y, x) that are `chosen` with y turned round, a
    symmetry of the β-plane too.

    signs: of each channel, +1 or −1: what a mirrored flow's field is times, see `recipe.PARITY`.
    """
    if not chosen.any():
        return fields
    which = torch.from_numpy(chosen).to(fields.device)[:, None, None, None]
    times = torch.tensor(signs, dtype=fields.dtype, device=fields.device)[:, None, None]
    return torch.where(which, torch.flip(fields, (2,)) * times, fields)


def noisy(fields: Tensor, std: float, key: Sequence[int], samples: IntArray) -> Tensor:
    """`fields` (sample, channel, y, x) with white noise of this standard deviation added.

    key: of this training and epoch; samples: numbers of the samples, which key theirs.
    """
    if std == 0.0:
        return fields
    drawn = []
    for sample in samples.tolist():
        generator = torch.Generator(fields.device)
        generator.manual_seed(integer_seed("noise", *key, sample))
        drawn.append(torch.randn(fields.shape[1:], generator=generator, device=fields.device))
    return fields + std * torch.stack(drawn)
