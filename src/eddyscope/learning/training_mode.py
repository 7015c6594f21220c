"""What a network keeps besides its weights while it is trained: running statistics, random numbers
of dropout, statistics over a batch. Uses torch.

On any number of ranks a step sees the statistics of the whole batch, and all ranks keep the same
running ones; masks of dropout are each rank's own, keyed by epoch and rank.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eddyscope.config.errors import CaseError, one_line
from eddyscope.config.streams import integer_seed
from eddyscope.networks.layers import evaluating
from eddyscope.parallel.world import World

__all__ = [
    "Counted",
    "Used",
    "buffers_of",
    "random_numbers",
    "same_buffers",
    "shared_statistics",
    "untouched",
    "used_parameters",
    "with_all",
]


def buffers_of(network: nn.Module) -> dict[str, Tensor]:
    """Everything that a network keeps besides parameters, by full name."""
    return dict(network.named_buffers())


@contextmanager
def random_numbers(purpose: str, key: Sequence[int], device: torch.device) -> Iterator[None]:
    """Let torch, numpy and Python draw random numbers that depend on `key` alone, and go on as
    before afterwards."""
    devices = [device] if device.type == "cuda" else []
    seed = integer_seed(purpose, *key)
    pythons, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(pythons)
            np.random.set_state(numpys)  # noqa: NPY002


@contextmanager
def untouched(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Try something on a network: what it keeps, and torch's random numbers, are afterwards as
    they were, and it has no gradients."""
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with random_numbers("training", (), device):
        yield
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.copy_(kept[name])
    for parameter in network.parameters():
        parameter.grad = None


@dataclass(frozen=True)
class Used:
    """What a training trains."""

    parameters: dict[str, nn.Parameter]
    """By full name."""
    at_times: tuple[nn.Parameter, ...]
    """Those that a step may leave out: none of a network that uses the same ones in training as
    after it and draws no random numbers; otherwise all, since no trial tells which."""


@contextmanager
def used_parameters(network: nn.Module, x: Tensor) -> Iterator[Used]:
    """Of the parameters that require gradients, those that the output for `x` depends on, in
    training or after it; meanwhile the others require none. Raises CaseError if there are none, or
    the network fails on `x`, as batch normalisation does on one number a channel."""
    training, random_ones = _used_once(network, x, "in training ")
    with evaluating(network):
        after, _ = _used_once(network, x, "")
    wanted = {name: p for name, p in network.named_parameters() if p.requires_grad}
    used = {name: p for name, p in wanted.items() if name in training | after}
    if not used:
        raise CaseError(
            "nothing is left to train: the network's output depends on no weight that is not kept "
            "fixed; name other layers"
        )
    idle = [p for name, p in wanted.items() if name not in used]
    for parameter in idle:
        parameter.requires_grad_(False)
    yield Used(used, tuple(used.values()) if random_ones or training != after else ())
    for parameter in idle:
        parameter.requires_grad_(True)


def _used_once(network: nn.Module, x: Tensor, when: str) -> tuple[set[str], bool]:
    """Names of the parameters that the output for `x` depends on, as the network computes now, and
    whether it draws random numbers. Raises CaseError if it fails."""
    with untouched(network, x.device):
        before = _random_state(x.device)
        try:
            output = network(x).sum()
        except (ValueError, RuntimeError) as error:
            raise CaseError(
                f"the network fails {when}on a batch of {len(x)} sample(s) "
                f"({type(error).__name__}: {one_line(error)}); change batch_size or samples, of "
                "which the last batch takes what is left, or the network"
            ) from None
        draws = _random_state(x.device) != before
        if output.requires_grad:
            output.backward()
        return {name for name, p in network.named_parameters() if p.grad is not None}, draws


def _random_state(device: torch.device) -> object:
    """Where the random numbers of torch, Python and numpy stand."""
    on_device = torch.cuda.get_rng_state(device).tolist() if device.type == "cuda" else []
    numpys = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    place = bytes(numpys["key"]), numpys["pos"]
    return torch.get_rng_state().tolist(), on_device, random.getstate(), place


def with_all(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """`loss`, of which all `parameters` have a gradient: zero for those that it does not depend on,
    since all ranks wait for the gradients of each other."""
    for parameter in parameters:
        loss = loss + 0.0 * parameter.sum()
    return loss


@torch.no_grad()
def same_buffers(network: nn.Module, world: World) -> None:
    """Give all ranks what the first keeps besides parameters. Collective."""
    buffers = buffers_of(network)
    if world.size == 1 or not buffers:
        return
    found = world.comm.bcast({name: b.cpu().numpy() for name, b in buffers.items()})
    for name, buffer in buffers.items():
        buffer.copy_(torch.from_numpy(found[name]))


class Counted:
    """Whether this rank's samples count in statistics over a batch: a rank without samples of its
    own computes with one that does not."""

    def __init__(self, device: torch.device) -> None:
        self.here = True
        self.device = device
        self.shared: list[str] = []
        """Names of the batch normalisations whose statistics are those of all ranks."""

    def passed(self) -> None:
        """A pass in training has ended. Raises CaseError on all ranks if they did not meet the
        same batch normalisations in it. Collective."""
        if self.shared:
            self.points(0.0, len(self.shared))

    def points(self, points: float, met: int) -> float:
        """Sum of `points` over ranks, which have met the batch normalisation of number `met`, or
        the end of the pass. Collective: whatever a rank meets next, it sends these numbers."""
        sums = torch.tensor([points, met, met * met, 1.0], dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        total, first, second, ranks = sums.tolist()
        if first * first != second * ranks:
            raise CaseError(
                f"the network leaves batch normalisation ({', '.join(self.shared)}) out of a step "
                "on some ranks alone, where it needs the samples of all; train on one rank, or let "
                "the network leave out layers without it"
            )
        return float(total)


@contextmanager
def shared_statistics(network: nn.Module, counted: Counted) -> Iterator[None]:
    """Let batch normalisation see the batch of all ranks of torch's process group."""
    with ExitStack() as exits:
        for name, layer in network.named_modules():
            if isinstance(layer, _BatchNorm):
                layer.forward = _over_ranks(layer, counted, len(counted.shared))  # type: ignore
                counted.shared.append(name)
                exits.callback(delattr, layer, "forward")  # the class's own is there again
        yield


def _over_ranks(layer: _BatchNorm, counted: Counted, number: int) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        if not layer.training:
            return type(layer).forward(layer, x)
        weight = float(counted.here)
        axes = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        points = counted.points(weight * x.numel() / x.shape[1], number)
        mean = _Sum.apply(weight * x.sum(axes)) / points
        centred = x - mean.reshape(shape)
        variance = _Sum.apply(weight * centred.square().sum(axes)) / points
        _keep(layer, mean.detach(), variance.detach(), points)
        result = centred * torch.rsqrt(variance + layer.eps).reshape(shape)
        if layer.weight is not None:
            result = result * layer.weight.reshape(shape) + layer.bias.reshape(shape)
        return cast(Tensor, result)

    return forward


@torch.no_grad()
def _keep(layer: _BatchNorm, mean: Tensor, variance: Tensor, points: float) -> None:
    """Move the running statistics, as torch's own layer does."""
    if layer.running_mean is None or layer.running_var is None:
        return
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    share = layer.momentum
    if share is None:
        share = 1.0 / float(layer.num_batches_tracked)
    layer.running_mean.lerp_(mean, share)
    layer.running_var.lerp_(variance * (points / max(points - 1.0, 1.0)), share)


class _Sum(torch.autograd.Function):
    """Sum over ranks; so is its gradient's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total
