"""Training: mean squared error of the normalised Π, Adam, data-parallel over the ranks.

The gradient of a step is that of the mean over the global batch on any number of ranks.
DistributedDataParallel averages over ranks, so each rank scales the sum over its own
samples by ranks / (samples of the whole batch); a rank without samples adds zero.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from eddyscope.learning.batches import Samples
from eddyscope.learning.checkpoint import Position, restore, save_checkpoint
from eddyscope.learning.descent import Descent
from eddyscope.learning.device import configure_torch
from eddyscope.learning.history import History
from eddyscope.learning.order import Batch, Order, rotated
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.training_mode import (
    Counted,
    Used,
    buffers_of,
    random_numbers,
    same_buffers,
    shared_statistics,
    untouched,
    used_parameters,
    with_all,
)
from eddyscope.networks.layers import evaluating
from eddyscope.parallel.failure import BlewUp, all_true
from eddyscope.parallel.torch_group import pick_device, process_group
from eddyscope.parallel.world import World, block

__all__ = ["Recipe", "Saved", "mean_loss", "train"]


@dataclass(frozen=True)
class Saved:
    """Where training leaves its checkpoints, and whose they are."""

    path: Path
    identity: str
    """Of all that decides the result; a checkpoint of another identity is not used."""


def train(
    network: nn.Module,
    samples: Samples,
    validation: Samples | None,
    recipe: Recipe,
    world: World,
    saved: Saved | None = None,
    report: Callable[[int, str], None] = lambda step, note: None,
    channels_last: bool = True,
) -> History:
    """Train those parameters of `network` that require gradients, in place. Collective.

    Its parts compute as they are told to, as in training or as after it: batch normalisation
    and dropout as in training alone change what they keep. What the output depends on in neither
    is left as it is; what a step leaves out, as a layer that is skipped at random, has the gradient
    zero in it. channels_last: whether its tensors may lie so in memory, which is faster.

    An interrupted training that is called again on as many ranks and threads ends with the
    same bits. On other numbers it goes on as well, since no user would rather lose the steps
    than the last bits; it says so, and the history keeps what each stretch was trained on.
    Raises BlewUp on all ranks if a loss or a parameter is no longer finite.
    """
    threads = configure_torch(world)
    device = pick_device(world.comm)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.to(device)
    network.to(memory_format=layout)  # type: ignore[call-overload]
    samples = samples.to(device)
    validation = None if validation is None else validation.to(device)
    # Batch normalisation may not take one sample, which a rank alone meets as the last batch.
    alone = world.size == 1 and len(samples) % recipe.batch_size == 1
    tried = samples.inputs[: 1 if alone or recipe.batch_size == 1 else 2]
    with used_parameters(network, tried) as used:
        descent = Descent(network, used.parameters, recipe)
        data = samples, validation, recipe, world, saved, layout, device, report
        history = _Training(network, used, descent, *data).run(threads)
    network.to("cpu")
    if not _is_finite(used.parameters, history, world):
        raise BlewUp(
            f"training: the loss is no longer finite after step {history.steps[-1]}; lower the "
            "learning rate, or look for samples that are not finite"
        )
    return history


@dataclass(frozen=True)
class _Training:
    """A training on its device."""

    network: nn.Module
    used: Used
    descent: Descent
    samples: Samples
    validation: Samples | None
    recipe: Recipe
    world: World
    saved: Saved | None
    layout: torch.memory_format
    device: torch.device
    report: Callable[[int, str], None]

    def run(self, threads: int) -> History:
        """All steps that are not done yet. Collective."""
        recipe, world, saved = self.recipe, self.world, self.saved
        position = self._restored()
        changed = position.history.go_on(position.step, world.size, threads)
        if changed and saved is not None:
            name = saved.path.stem
            world.say(f"{name}: goes on {changed}; the last bits will be of neither alone")
        order = Order(len(self.samples), recipe.batch_size, recipe.key, recipe.rotations)

        def loop(model: nn.Module, counted: Counted) -> None:
            step = _Step(model, self.used, self.samples, self.layout, counted)
            numbers = range(position.step, recipe.steps)
            for number, batch in zip(numbers, order.batches(position.step), strict=False):
                with random_numbers("training", (*recipe.key, number, world.rank), self.device):
                    position.met += step.gradient(batch, world)
                self.descent.take(number)
                same_buffers(self.network, world)
                position.met_samples += batch.total
                position.step = number + 1
                if not self._after_step(position, order.steps_an_epoch):
                    return

        _on_all_ranks(self.network, self.used, self.samples, world, self.device, loop)
        position.history.travel = self.descent.travel(position.step)
        return position.history

    def _restored(self) -> Position:
        """Where the checkpoint left it. Collective."""
        if self.saved is None:
            return Position()
        path, identity = self.saved.path, self.saved.identity
        return restore(path, identity, *self._state, self.world)

    @property
    def _state(
        self,
    ) -> tuple[Mapping[str, nn.Parameter], Mapping[str, Tensor], torch.optim.Optimizer]:
        return self.descent.trained, buffers_of(self.network), self.descent.optimiser

    def _after_step(self, position: Position, steps_an_epoch: int) -> bool:
        """Measure, keep and report where it is time to; whether all is finite. Collective."""
        recipe, step = self.recipe, position.step
        ended = step == recipe.steps
        if ended or step % (recipe.evaluate_every or steps_an_epoch) == 0:
            self._evaluate(position)
            if not _is_finite(self.descent.trained, position.history, self.world):
                return False
            self.report(step, position.history.words)
        due = recipe.checkpoint_every and step % recipe.checkpoint_every == 0
        if self.saved is not None and due and not ended:
            path, identity = self.saved.path, self.saved.identity
            save_checkpoint(path, identity, *self._state, position, self.world)
        return True

    def _evaluate(self, position: Position) -> None:
        """A point of the curves. Collective."""
        history, values = position.history, self.samples.targets[0].numel()
        met = float(self.world.comm.allreduce(position.met))
        history.train.append(met / (position.met_samples * values))
        history.steps.append(position.step)
        position.met, position.met_samples = 0.0, 0
        if self.validation is not None:
            size = self.recipe.batch_size
            history.validation.append(mean_loss(self.network, self.validation, size, self.world))


def mean_loss(network: nn.Module, samples: Samples, batch_size: int, world: World) -> float:
    """Mean squared error over `samples`, shared out to the ranks. Collective."""
    mine = block(len(samples), world.size, world.rank)
    total = 0.0
    with torch.inference_mode(), evaluating(network):
        for start in range(mine.start, mine.stop, batch_size):
            part = slice(start, min(start + batch_size, mine.stop))
            error = network(samples.inputs[part]) - samples.targets[part]
            total += float(error.square().sum(dtype=torch.float64))
    return float(world.comm.allreduce(total)) / samples.targets.numel()


@dataclass(frozen=True)
class _Step:
    """What every step of a training works with."""

    model: nn.Module
    used: Used
    samples: Samples
    layout: torch.memory_format
    counted: Counted

    def gradient(self, batch: Batch, world: World) -> float:
        """Give the parameters the gradient of the mean over the batch; returns the sum of squared
        errors over this rank's part of it. Collective."""
        self.model.zero_grad()
        error = self._squared_error(batch.part(world.rank, world.size))
        scale = world.size / (batch.total * self.samples.targets[0].numel())
        with_all(error * scale, self.used.at_times).backward()
        return float(error.detach())

    def _squared_error(self, part: Batch) -> Tensor:
        self.counted.here = len(part.indices) > 0
        indices, turns = part.indices, part.turns
        if not self.counted.here:  # not every network takes a batch of no samples
            indices, turns = np.zeros(1, np.int64), np.zeros(1, np.int64)
        chosen = torch.from_numpy(indices).to(self.samples.inputs.device)
        inputs = rotated(self.samples.inputs[chosen], turns)
        targets = rotated(self.samples.targets[chosen], turns)
        prediction = self.model(inputs.contiguous(memory_format=self.layout))
        error: Tensor = (prediction - targets).square().sum()
        return error if self.counted.here else error * 0.0


def _on_all_ranks(
    network: nn.Module,
    used: Used,
    samples: Samples,
    world: World,
    device: torch.device,
    loop: Callable[[nn.Module, Counted], None],
) -> None:
    """Call `loop` with `network` as all ranks of `world` train it together. Collective."""
    counted = Counted()
    if world.size == 1:
        loop(network, counted)
        return
    with process_group(world.comm, device), shared_statistics(network, counted):
        ids = [device.index] if device.type == "cuda" else None
        model = DistributedDataParallel(network, device_ids=ids)
        # DDP lays its buckets out anew after its first step, which changes the order of
        # sums. One step ahead of the first makes a resumed run sum like an unbroken one.
        with untouched(network, device):
            with_all(model(samples.inputs[:1]).sum(), used.at_times).backward()
        loop(model, counted)
        # DDP must go before its process group: as the last owner it would wait for the
        # group's threads while it holds the interpreter's lock, which they may need.
        del model
        gc.collect()


def _is_finite(trained: Mapping[str, nn.Parameter], history: History, world: World) -> bool:
    """Whether the latest losses and all trained parameters are finite on all ranks. Collective."""
    losses = [*history.train[-1:], *history.validation[-1:]]
    sums = [float(p.detach().sum()) for p in trained.values()]
    return all_true(world.comm, all(math.isfinite(value) for value in [*losses, *sums]))
