"""Training: mean squared error of the normalised Π, Adam, data-parallel over the ranks.

The gradient of a step is that of the mean over the global batch on any number of ranks.
DistributedDataParallel averages over ranks, so each rank scales the sum over its own
samples by ranks / (samples of the whole batch); a rank without samples adds zero.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from eddyscope.learning.batches import Samples
from eddyscope.learning.checkpoint import restore, save_checkpoint
from eddyscope.learning.device import configure_torch
from eddyscope.learning.history import History
from eddyscope.learning.order import Batch, batches, rotated
from eddyscope.parallel.failure import BlewUp, all_true
from eddyscope.parallel.torch_group import pick_device, process_group
from eddyscope.parallel.world import World, block

__all__ = ["Recipe", "Saved", "mean_loss", "train"]


@dataclass(frozen=True)
class Recipe:
    """How to train; decides the result together with the network and the samples."""

    epochs: int
    batch_size: int
    """Samples a step on all ranks together."""
    learning_rate: float
    key: tuple[int, ...]
    """Key of the samples' order and rotations."""
    rotations: bool = False
    checkpoint_every: int = 10


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
    report: Callable[[int, str], None] = lambda epoch, note: None,
) -> History:
    """Train those parameters of `network` that require gradients, in place. Collective.

    An interrupted training that is called again on as many ranks and threads ends with the
    same bits. On other numbers it goes on as well, since no user would rather lose the epochs
    than the last bits; it says so, and the history keeps what each stretch was trained on.
    Raises BlewUp on all ranks if a loss or a parameter is no longer finite.
    """
    threads = configure_torch(world)
    device = pick_device(world.comm)
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    samples = samples.to(device)
    validation = None if validation is None else validation.to(device)
    optimiser = torch.optim.Adam(_trainable(network).values(), lr=recipe.learning_rate)
    history = History()
    if saved is not None:
        history = restore(saved.path, saved.identity, _trainable(network), optimiser, world)
    changed = history.go_on(world.size, threads)
    if changed and saved is not None:
        world.say(f"{saved.path.stem}: goes on {changed}; the last bits will be of neither alone")

    def loop(model: nn.Module) -> None:
        for epoch in range(len(history.train), recipe.epochs):
            history.train.append(_epoch(model, samples, recipe, epoch, optimiser, world))
            if validation is not None:
                history.validation.append(mean_loss(network, validation, recipe.batch_size, world))
            if not _is_finite(network, history, world):
                return
            done = epoch + 1
            if saved is not None and done % recipe.checkpoint_every == 0 and done < recipe.epochs:
                trained = _trainable(network)
                save_checkpoint(saved.path, saved.identity, trained, optimiser, history, world)
            report(done, history.words)

    _on_all_ranks(network, samples, world, device, loop)
    network.to("cpu")
    if not _is_finite(network, history, world):
        raise BlewUp(
            f"training: the loss is no longer finite in epoch {len(history.train)}; lower the "
            "learning rate, or look for samples that are not finite"
        )
    return history


def mean_loss(network: nn.Module, samples: Samples, batch_size: int, world: World) -> float:
    """Mean squared error over `samples`, shared out to the ranks. Collective."""
    mine = block(len(samples), world.size, world.rank)
    total = 0.0
    with torch.inference_mode():
        for start in range(mine.start, mine.stop, batch_size):
            part = slice(start, min(start + batch_size, mine.stop))
            error = network(samples.inputs[part]) - samples.targets[part]
            total += float(error.square().sum(dtype=torch.float64))
    return float(world.comm.allreduce(total)) / samples.targets.numel()


def _epoch(
    model: nn.Module,
    samples: Samples,
    recipe: Recipe,
    epoch: int,
    optimiser: torch.optim.Optimizer,
    world: World,
) -> float:
    """One pass over all samples; gives the mean loss met on the way. Collective."""
    total = torch.zeros((), dtype=torch.float64, device=samples.inputs.device)
    for batch in batches(
        len(samples), recipe.batch_size, recipe.key, epoch, world.rank, world.size, recipe.rotations
    ):
        optimiser.zero_grad()
        loss = _squared_error(model, samples, batch)
        (loss * (world.size / (batch.total * samples.targets[0].numel()))).backward()
        optimiser.step()
        total += loss.detach()
    return float(world.comm.allreduce(float(total))) / samples.targets.numel()


def _squared_error(model: nn.Module, samples: Samples, batch: Batch) -> Tensor:
    """Sum of squared errors over this rank's part of a batch (which may be empty)."""
    chosen = torch.from_numpy(batch.indices).to(samples.inputs.device)
    inputs = rotated(samples.inputs[chosen], batch.turns)
    targets = rotated(samples.targets[chosen], batch.turns)
    prediction = model(inputs.contiguous(memory_format=torch.channels_last))
    return cast(Tensor, (prediction - targets).square().sum())


def _on_all_ranks(
    network: nn.Module,
    samples: Samples,
    world: World,
    device: torch.device,
    loop: Callable[[nn.Module], None],
) -> None:
    """Call `loop` with `network` as all ranks of `world` train it together. Collective."""
    if world.size == 1:
        loop(network)
        return
    with process_group(world.comm, device):
        ids = [device.index] if device.type == "cuda" else None
        model = DistributedDataParallel(network, device_ids=ids)
        # DDP lays its buckets out anew after its first step, which changes the order of
        # sums. One step ahead of the first makes a resumed run sum like an unbroken one.
        model(samples.inputs[:1]).sum().backward()
        for parameter in network.parameters():
            parameter.grad = None
        loop(model)
        # DDP must go before its process group: as the last owner it would wait for the
        # group's threads while it holds the interpreter's lock, which they may need.
        del model
        gc.collect()


def _is_finite(network: nn.Module, history: History, world: World) -> bool:
    """Whether the latest losses and all trained parameters are finite on all ranks. Collective."""
    losses = [*history.train[-1:], *history.validation[-1:]]
    sums = [float(p.detach().sum()) for p in _trainable(network).values()]
    return all_true(world.comm, all(math.isfinite(value) for value in [*losses, *sums]))


def _trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in network.named_parameters() if p.requires_grad}
