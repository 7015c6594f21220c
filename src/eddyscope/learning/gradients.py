"""The gradient of the mean loss over a batch, on any number of ranks. Uses torch.

`Together` is torch's DistributedDataParallel: each rank computes its part of the batch, and the
sums over ranks begin while it still computes. Their order depends on the number of ranks, and so
do the last bits. DDP averages over ranks, so each rank scales the sum over its own samples by
ranks / (samples of the whole batch); a rank without samples adds zero.

`Sharded` is for the same bits on any number of ranks: a batch always has SHARDS parts, each
computed by itself, whose gradients all ranks add in the order of the parts.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from eddyscope.config.arrays import IntArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.augment import mirrored, noisy, rotated
from eddyscope.learning.order import Batch
from eddyscope.learning.precision import autocast
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.supply import Given
from eddyscope.learning.training_mode import Counted, Used, random_numbers, untouched, with_all
from eddyscope.parallel.reduce import gathered
from eddyscope.parallel.world import World, block

__all__ = ["SHARDS", "Forward", "Gradient", "Sharded", "Together", "require_no_statistics"]

SHARDS = 8
"""Parts of a batch whose gradients are summed in order; more ranks than that would idle."""


@dataclass(frozen=True)
class Forward:
    """Forward passes of a training."""

    values: int
    """Of a sample's targets."""
    device: torch.device
    recipe: Recipe
    used: Used
    layout: torch.memory_format
    counted: Counted

    def of(self, model: nn.Module, part: Batch, given: Given) -> Tensor:
        """The sum of the loss over a part of a batch, see `learning/losses.py`."""
        self.counted.here = len(part.indices) > 0
        part = part.stand_in()
        recipe, device = self.recipe, self.device
        samples = given.at(part.indices).to(device)
        inputs, targets = samples.inputs, samples.targets
        if recipe.reflections is not None:
            inputs = mirrored(inputs, part.mirrors, recipe.reflections.inputs)
            targets = mirrored(targets, part.mirrors, recipe.reflections.outputs)
        inputs, targets = rotated(inputs, part.turns), rotated(targets, part.turns)
        inputs = noisy(inputs, recipe.noise, (*recipe.key, part.epoch), part.indices)
        with autocast(recipe.precision, device):
            prediction = model(inputs.contiguous(memory_format=self.layout))
        self.counted.passed()
        loss = recipe.loss(prediction.float(), targets, inputs)
        return loss if self.counted.here else loss * 0.0


class Gradient(Protocol):
    """How a training comes by its gradients."""

    def places(self, batch: Batch) -> IntArray:
        """Of the samples of a batch that this rank computes with."""

    def of(self, batch: Batch, step: int, given: Given) -> float:
        """Give the trained parameters the gradient of the mean over the batch; returns a part of
        the sum of the loss over it, that all ranks' parts add up to. Collective.

        given: has the samples of `places`."""


@dataclass(frozen=True)
class Together:
    """Each rank its part of the batch, added up by DDP."""

    model: nn.Module
    forward: Forward
    world: World

    def places(self, batch: Batch) -> IntArray:
        return batch.part(self.world.rank, self.world.size).indices

    def of(self, batch: Batch, step: int, given: Given) -> float:
        self.model.zero_grad()
        pieces, world = self.forward.recipe.accumulate, self.world
        mine = batch.part(world.rank, world.size)
        scale = world.size / (batch.total * self.forward.values)
        device, total = self.forward.device, 0.0
        with random_numbers("training", (*self.forward.recipe.key, step, world.rank), device):
            for piece in range(pieces):
                last = piece == pieces - 1
                wrapped = isinstance(self.model, DistributedDataParallel)
                with self.model.no_sync() if wrapped and not last else nullcontext():  # type: ignore
                    loss = self.forward.of(self.model, mine.part(piece, pieces), given)
                    with_all(loss * scale, self.forward.used.at_times).backward()
                total += float(loss.detach())
        return total


@dataclass(frozen=True)
class Sharded:
    """SHARDS parts of the batch, their gradients added in order on every rank."""

    model: nn.Module
    forward: Forward
    world: World

    @property
    def shards(self) -> range:
        """Those of this rank."""
        mine = block(SHARDS, self.world.size, self.world.rank)
        return range(mine.start, mine.stop)

    def places(self, batch: Batch) -> IntArray:
        parts = [batch.part(shard, SHARDS).indices for shard in self.shards]
        return np.concatenate([*parts, np.empty(0, np.int64)])

    def of(self, batch: Batch, step: int, given: Given) -> float:
        parameters = list(self.forward.used.parameters.values())
        width = 1 + sum(p.numel() for p in parameters)
        rows = np.zeros((len(self.shards), width), np.float32)
        for row, shard in zip(rows, self.shards, strict=True):
            row[...] = self._of_shard(batch, step, shard, given)
        summed = np.zeros(width, np.float32)
        for of_shard in gathered(self.world.comm, rows):
            summed += of_shard
        whole, start = torch.from_numpy(summed[1:]), 0
        for parameter in parameters:
            grad = whole[start : start + parameter.numel()].reshape(parameter.shape)
            parameter.grad = torch.empty_like(parameter).copy_(grad)
            start += parameter.numel()
        return float(summed[0]) if self.world.is_root else 0.0

    def _of_shard(self, batch: Batch, step: int, shard: int, given: Given) -> np.ndarray:
        """Its sum of the loss, then its share of the gradient, as one row."""
        pieces, recipe = self.forward.recipe.accumulate, self.forward.recipe
        parameters = list(self.forward.used.parameters.values())
        part, total = batch.part(shard, SHARDS), 0.0
        if not len(part.indices):
            return np.zeros(1 + sum(p.numel() for p in parameters), np.float32)
        self.model.zero_grad()
        with random_numbers("training", (*recipe.key, step, shard), self.forward.device):
            for piece in range(pieces):
                loss = self.forward.of(self.model, part.part(piece, pieces), given)
                mean = loss / (batch.total * self.forward.values)
                with_all(mean, self.forward.used.at_times).backward()
                total += float(loss.detach())
        flat = [p.grad.reshape(-1) for p in parameters if p.grad is not None]
        assert len(flat) == len(parameters)
        return np.concatenate([[total], torch.cat(flat).cpu().numpy()]).astype(np.float32)


def require_no_statistics(network: nn.Module, x: Tensor) -> None:
    """CaseError if `network` keeps something of what it is given, such as running means: then it
    does not compute a part of a batch by itself."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with untouched(network, x.device):
        network(x)
        changed = [n for n, b in network.named_buffers() if not torch.equal(b, before[n])]
    if changed:
        raise CaseError(
            f"training.reproducible = true, but the network keeps statistics of whole batches "
            f"({changed[0]}); leave it out, or use a network without batch normalisation"
        )
