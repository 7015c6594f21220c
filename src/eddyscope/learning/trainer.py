"""Training: a loss of the normalised Π, Adam, data-parallel over the ranks.

The gradient of a step is that of the mean over the global batch on any number of ranks; see
`learning/gradients.py`.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from eddyscope.config.arrays import IntArray
from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import Samples
from eddyscope.learning.checkpoint import Checkpoints, Position, Saved, State
from eddyscope.learning.descent import Descent
from eddyscope.learning.device import configure_torch
from eddyscope.learning.gradients import (
    SHARDS,
    Forward,
    Gradient,
    Sharded,
    Together,
    require_no_statistics,
)
from eddyscope.learning.history import History
from eddyscope.learning.logs import LOGS, Log
from eddyscope.learning.losses import Loss, Mse
from eddyscope.learning.order import Batch, Order
from eddyscope.learning.precision import compiled, products
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.schedule import factor
from eddyscope.learning.supply import Supply
from eddyscope.learning.training_mode import (
    Counted,
    Used,
    buffers_of,
    same_buffers,
    shared_statistics,
    untouched,
    used_parameters,
    with_all,
)
from eddyscope.networks.base import device_of
from eddyscope.networks.layers import evaluating
from eddyscope.parallel.failure import BlewUp, StoppedEarly, agree, all_true
from eddyscope.parallel.reduce import largest
from eddyscope.parallel.torch_group import free_memory, pick_device, process_group
from eddyscope.parallel.world import World, block

__all__ = ["Recipe", "Requests", "Saved", "mean_loss", "train"]


class Requests(Protocol):
    """Who may ask a training to stop, see `parallel/stop.py`."""

    @property
    def by(self) -> str:
        """What asked."""

    def pending(self) -> bool:
        """Whether this rank knows of a request."""

    def any(self) -> bool:
        """Whether any rank of the training does. Collective."""


def train(
    network: nn.Module,
    samples: Supply,
    validation: Supply | None,
    recipe: Recipe,
    world: World,
    saved: Saved | None = None,
    report: Callable[[int, str], None] = lambda step, note: None,
    channels_last: bool = True,
    requests: Requests | None = None,
) -> History:
    """Train those parameters of `network` that require gradients, in place. Collective.

    Its parts compute as they are told to, as in training or as after it: batch normalisation
    and dropout as in training alone change what they keep. What the output depends on in neither
    is left as it is; what a step leaves out, as a layer that is skipped at random, has the gradient
    zero in it. channels_last: whether its tensors may lie so in memory, which is faster.

    An interrupted training that is called again on as many ranks and threads ends with the
    same bits, at whatever step it was left. On other numbers it goes on as well, since no user
    would rather lose the steps than the last bits; it says so, and the history keeps what each
    stretch was trained on (a `reproducible` recipe has the same bits on any number of ranks).

    On all ranks together raises BlewUp if a loss is no longer finite, before the step is taken,
    or a parameter after it; StoppedEarly if `requests` asked for it; both after a checkpoint;
    CaseError for a recipe that this network or machine cannot follow.
    """
    threads = configure_torch(world)
    device = pick_device(world.comm)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.to(device)
    network.to(memory_format=layout)  # type: ignore[call-overload]
    samples = _near(samples, device, world)
    validation = None if validation is None else _near(validation, device, world)
    first = samples.first.to(device)
    tried = first.inputs[: _tried(len(samples), recipe, world)]
    with used_parameters(network, tried) as used, products(recipe.precision):
        descent = Descent(network, used.parameters, recipe)
        state = State(used.parameters, buffers_of(network), descent.optimiser)
        history, ending = _Training(
            network=network,
            used=used,
            samples=samples,
            first=first,
            validation=validation,
            recipe=recipe,
            world=world,
            layout=layout,
            descent=descent,
            checkpoints=Checkpoints(saved, state, world),
            requests=requests,
            logs=[LOGS.build(log) for log in saved.logs] if saved is not None else [],
            report=report,
            began=time.monotonic(),
        ).run(threads)
    network.to("cpu")
    if ending is not None:
        raise ending
    return history


def _near(samples: Supply, device: torch.device, world: World) -> Supply:
    """Samples in memory on the device, where half of what is free there holds them. Collective."""
    if device.type == "cpu" or not isinstance(samples, Samples):
        return samples
    return samples.to(device) if samples.bytes <= free_memory(world.comm) / 2 else samples


def _tried(samples: int, recipe: Recipe, world: World) -> int:
    """How many samples a network is tried on: batch normalisation may not take one, which a rank
    alone meets as the last batch."""
    alone = world.size == 1 and samples % recipe.batch_size == 1
    return 1 if alone or recipe.batch_size == 1 else 2


@dataclass(frozen=True)
class _Training:
    """A training on its device."""

    network: nn.Module
    used: Used
    samples: Supply
    first: Samples
    validation: Supply | None
    recipe: Recipe
    world: World
    layout: torch.memory_format
    descent: Descent
    checkpoints: Checkpoints
    requests: Requests | None
    logs: Sequence[Log]
    report: Callable[[int, str], None]
    began: float

    def run(self, threads: int) -> tuple[History, Exception | None]:
        """All steps that are not done yet; what ended it early. Collective."""
        position, world, saved = self.checkpoints.restored(), self.world, self.checkpoints.saved
        history = position.history
        changed = history.go_on(position.step, world.size, threads)
        if changed and saved is not None and not self.recipe.reproducible:
            name = saved.path.stem
            world.say(f"{name}: goes on {changed}; the last bits will be of neither alone")
        self._log(lambda log: self._begin(log, position.step))
        ending: Exception | None = None

        def loop(gradient: Gradient) -> None:
            nonlocal ending
            ending = self._steps(gradient, position)

        self._on_all_ranks(loop)
        self._log(lambda log: log.end())
        history.travel = self.descent.travel(position.step)
        if ending is None and position.best:
            with torch.no_grad():
                for name, value in self.checkpoints.state.values.items():
                    value.copy_(position.best[name])
        return history, ending

    def _steps(self, gradient: Gradient, position: Position) -> Exception | None:
        """Steps until the end or what ends it early. Collective."""
        recipe = self.recipe
        order = Order(
            len(self.samples),
            recipe.batch_size,
            recipe.key,
            recipe.rotations,
            recipe.reflections is not None,
        )
        numbers = range(position.step, recipe.last)
        coming = islice(order.batches(position.step), len(numbers))
        with closing(self.samples.given(map(gradient.places, coming))) as given:
            for number, batch in zip(numbers, order.batches(position.step), strict=False):
                loss = gradient.of(batch, number, agree(self.world.comm, lambda: next(given)))
                bad, asked, due = self._agreed(loss)
                if bad:
                    return self._blew_up(position, batch)
                self.descent.take(number)
                same_buffers(self.network, self.world)
                position.met += loss
                position.met_samples += batch.total
                position.step = number + 1
                ending = self._after_step(position, order.steps_an_epoch, asked, due)
                if ending is not None:
                    return ending
        return None

    def _agreed(self, loss: float) -> tuple[bool, bool, bool]:
        """Whether on any rank the loss is not finite, a request is known, or a checkpoint due.
        Collective."""
        pending = self.requests is not None and self.requests.pending()
        flags = [not math.isfinite(loss), pending, self.checkpoints.due()]
        if self.world.size > 1:
            flags = [bool(flag) for flag in largest(self.world.comm, [int(f) for f in flags])]
        return flags[0], flags[1], flags[2]

    def _blew_up(self, position: Position, batch: Batch) -> Exception:
        """What is said of a loss that is not finite; the weights of before it are kept if what the
        network keeps besides them is sound. Collective."""
        buffers = self.checkpoints.state.buffers.values()
        if all_true(self.world.comm, all(bool(torch.isfinite(b).all()) for b in buffers)):
            self.checkpoints.save(position)
        return BlewUp(
            f"training: the loss is no longer finite at step {position.step + 1}, in epoch "
            f"{batch.epoch + 1}; {self._way_out}"
        )

    @property
    def _way_out(self) -> str:
        """What to do where numbers are no longer finite."""
        recipe = self.recipe
        return (
            f"the rate was {recipe.rate:g}, lower {recipe.rate_from}, or look for samples that are "
            "not finite"
        )

    def _after_step(
        self, position: Position, steps_an_epoch: int, asked: bool, due: bool
    ) -> Exception | None:
        """Measure, keep, report and stop where it is time to. Collective."""
        recipe, step = self.recipe, position.step
        ended = step == recipe.last
        if ended or step % (recipe.evaluate_every or steps_an_epoch) == 0:
            self._evaluate(position)
            if not _is_finite(self.descent, position.history, self.world):
                return BlewUp(
                    f"training: weights or losses are no longer finite after step {step}; "
                    f"{self._way_out}"
                )
            self.report(step, position.history.words)
        if ended:
            return None
        asked = asked and self.requests is not None and self.requests.any()
        every = recipe.checkpoint_every
        if asked or due or (every and step % every == 0):
            self.checkpoints.save(position)
        if asked and self.requests is not None:
            return StoppedEarly(
                f"at step {step} of {recipe.last}, as asked by {self.requests.by}; call again to "
                "go on"
            )
        return None

    def _evaluate(self, position: Position) -> None:
        """A point of the curves; keeps the weights if they are the best so far. Collective."""
        history, values = position.history, self.first.targets[0].numel()
        met = float(self.world.comm.allreduce(position.met))
        history.train.append(met / (position.met_samples * values))
        history.steps.append(position.step)
        position.met, position.met_samples = 0.0, 0
        if self.validation is not None:
            parts = SHARDS if self.recipe.reproducible else None
            data = self.validation, self.recipe.batch_size, self.world, self.recipe.loss, parts
            history.validation.append(mean_loss(self.network, *data))
            found, best = history.validation, history.best
            better = best is None or found[-1] < found[best]
            if self.recipe.keep == "best" and math.isfinite(found[-1]) and better:
                history.best = len(found) - 1
                state = self.checkpoints.state
                position.best = {name: value.clone() for name, value in state.values.items()}
        self._log(lambda log: log.write(self._point(history)))

    def _point(self, history: History) -> dict[str, float]:
        """The last point of the curves, as logs are given it."""
        step, recipe = history.steps[-1], self.recipe
        rate = recipe.rate * factor(recipe.schedule, step - 1, recipe.steps)
        seconds = round(time.monotonic() - self.began, 3)
        validation = {"validation": history.validation[-1]} if history.validation else {}
        loss = {"loss": history.train[-1]}
        return {"step": step, **loss, **validation, "rate": rate, "seconds": seconds}

    def _begin(self, log: Log, step: int) -> None:
        assert self.checkpoints.saved is not None
        log.check()
        log.begin(self.checkpoints.saved.path.with_suffix(""), step)

    def _log(self, call: Callable[[Log], None]) -> None:
        """Call every log on rank 0; what it raises is raised on all. Collective."""

        def call_all() -> None:
            for log in self.logs:
                call(log)

        if self.logs:
            self.world.on_root(call_all)

    def _on_all_ranks(self, loop: Callable[[Gradient], None]) -> None:
        """Call `loop` with how all ranks come by their gradients together. Collective."""
        recipe, world, example = self.recipe, self.world, self.first.inputs[:1]
        device, model = example.device, self.network
        counted, values = Counted(device), self.first.targets[0].numel()
        forward = Forward(values, device, recipe, self.used, self.layout, counted)
        if recipe.compile:
            of_all = example.repeat(min(recipe.batch_size, len(self.samples)), 1, 1, 1)
            laid_out = of_all.contiguous(memory_format=self.layout)
            model = agree(world.comm, lambda: compiled(self.network, recipe.precision, laid_out))
        if recipe.reproducible:
            agree(world.comm, lambda: require_no_statistics(self.network, self.first.inputs[:2]))
            loop(Sharded(model, forward, world))
            return
        if world.size == 1:
            loop(Together(model, forward, world))
            return
        with process_group(world.comm, device), shared_statistics(self.network, counted):
            ids = [device.index] if device.type == "cuda" else None
            together = DistributedDataParallel(model, device_ids=ids)
            # DDP lays its buckets out anew after its first step, which changes the order of
            # sums. One step ahead of the first makes a resumed run sum like an unbroken one.
            with untouched(self.network, device):
                output = together(example)
                counted.passed()
                with_all(output.sum(), self.used.at_times).backward()
            problem = None
            try:
                loop(Together(together, forward, world))
            except CaseError as error:
                problem = CaseError(str(error))  # without the frames, which hold the model
            # DDP must go before its process group: as the last owner it would wait for the
            # group's threads while it holds the interpreter's lock, which they may need.
            del together
            gc.collect()
            if problem is not None:
                raise problem


def mean_loss(
    network: nn.Module,
    samples: Supply,
    batch_size: int,
    world: World,
    loss: Loss | None = None,
    parts: int | None = None,
) -> float:
    """A loss, by default the mean squared error, over `samples`, shared out to the ranks.
    Collective. Raises CaseError for samples that cannot be read.

    parts: into how many the samples are split, whose sums are added in order: the same bits on any
    number of ranks. By default one a rank.
    """
    parts = parts or world.size
    mine = block(parts, world.size, world.rank)
    places = np.arange(len(samples))
    of_parts = [places[block(len(samples), parts, number)] for number in range(parts)[mine]]
    totals = agree(world.comm, lambda: _losses(network, samples, of_parts, batch_size, loss))
    sums: list[list[float]] = world.comm.allgather(totals)
    values = len(samples) * samples.first.targets[0].numel()
    return sum(total for of_rank in sums for total in of_rank) / values


def _losses(
    network: nn.Module,
    samples: Supply,
    parts: Sequence[IntArray],
    batch_size: int,
    loss: Loss | None,
) -> list[float]:
    """The sum of a loss over each part. Not collective."""
    loss, device = loss or Mse(), device_of(network)
    batches = [[p[at : at + batch_size] for at in range(0, len(p), batch_size)] for p in parts]
    with torch.inference_mode(), evaluating(network), closing(samples.given(chain(*batches))) as g:

        def one(places: IntArray) -> float:
            chosen = next(g).at(places).to(device)
            inputs, targets = chosen.inputs, chosen.targets
            return float(loss(network(inputs).double(), targets.double(), inputs.double()))

        return [sum((one(places) for places in of_part), 0.0) for of_part in batches]


def _is_finite(descent: Descent, history: History, world: World) -> bool:
    """Whether the latest losses and all trained parameters are finite on all ranks. Collective."""
    losses = [*history.train[-1:], *history.validation[-1:]]
    sums = [float(p.detach().sum()) for p in descent.trained.values()]
    return all_true(world.comm, all(math.isfinite(value) for value in [*losses, *sums]))
