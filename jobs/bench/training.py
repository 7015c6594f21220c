"""How fast is a training step, beside a bare loop, on more ranks, and beside what the machine can?

    python jobs/bench/training.py                              this machine's GPU, or one CPU core
    mpirun -n 2 python jobs/bench/training.py --json two.json  also: two ranks against one
    python jobs/bench/training.py --n 128 --width 64 --depth 11 --batch 16 64 \\
        --variants float32 tf32 bf16 compile bf16+compile      the paper's network, on a GPU

A step is timed inside `learning.trainer.train`: from one point of the curves to the next, so with
the order of samples, gradients, the update, the checks and the loss. In turn with it, in every
round:

    bare     the same network, batches and Adam in a plain loop, its tensors with channels last
    ranks    (under mpirun) the training on all ranks, and on rank 0 while the others wait

"share" is the rate of a step's products, 2 flops a product, three times a forward pass, over that
of a product of two square float32 matrices in the same run (2048 a side on a CPU, 8192 on a GPU;
of a GPU in the variant's precision). Variants: float32, tf32, bf16, compile, reproducible,
accumulate, joined by "+". Medians of the rounds, with least and most.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from eddyscope.config.streams import stream
from eddyscope.learning.batches import Samples
from eddyscope.learning.device import configure_torch
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.trainer import train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.costs import training_flops
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.torch_group import pick_device
from eddyscope.parallel.world import World

CHANNELS = Channels.of_flow()


def main() -> None:
    arguments = parse()
    world = World.launched()
    configure_torch(world)
    device = pick_device(world.comm)
    records = []
    for batch in arguments.batch:
        for variant in arguments.variants:
            record = measured(batch, variant, world, device, arguments)
            records.append(record)
            world.say(row(record))
    if arguments.json and world.is_root:
        facts = {
            "command": " ".join(["python", *sys.argv]),
            "ranks": world.size,
            "threads": torch.get_num_threads(),
            "machine": machine(device),
            "torch": torch.__version__,
            "records": records,
        }
        Path(arguments.json).write_text(json.dumps(facts, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=32, help="points a side")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--kernel", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--variants", nargs="+", default=["float32"])
    parser.add_argument("--steps", type=int, default=12, help="timed in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write all there")
    return parser.parse_args()


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def recipe_of(variant: str, batch: int, steps: int) -> Recipe:
    recipe = Recipe(steps=steps, batch_size=batch, rate=1e-3, key=(0,), evaluate_every=1)
    for word in variant.split("+"):
        changes: dict[str, dict[str, Any]] = {
            "float32": {},
            "tf32": {"precision": "tf32"},
            "bf16": {"precision": "bf16"},
            "compile": {"compile": True},
            "reproducible": {"reproducible": True},
            "accumulate": {"accumulate": 2},
        }
        recipe = replace(recipe, **changes[word])
    return recipe


def measured(
    batch: int, variant: str, world: World, device: torch.device, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Seconds a step of each, in turn. Collective."""
    n, steps = arguments.n, arguments.steps
    settings = Cnn.Settings(
        depth=arguments.depth, width=arguments.width, kernel_size=arguments.kernel
    )
    inputs = torch.randn(2 * batch, 2, n, n, generator=torch.Generator().manual_seed(1))
    samples = Samples(inputs, (inputs[:, :1] * inputs[:, 1:]).contiguous())
    recipe, alone = recipe_of(variant, batch, steps), World.single()

    def network() -> LayeredModel:
        return build(settings, CHANNELS, (1,))

    def on_root(function: Callable[[], float]) -> float:
        """`function` on rank 0 while the others sleep. Collective."""
        seconds = function() if world.is_root else 0.0
        request = world.comm.Ibarrier()
        while not request.Test():
            time.sleep(1e-3)
        return float(world.comm.bcast(seconds))

    ways: dict[str, Callable[[], float]] = {
        "bare": lambda: on_root(lambda: bare(network(), samples, recipe, device)),
        "one rank": lambda: on_root(lambda: ours(network(), samples, recipe, alone)),
    }
    if world.size > 1:
        ways["all ranks"] = lambda: ours(network(), samples, recipe, world)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(1 + arguments.rounds):  # the first warms up
        for name, way in ways.items():
            seconds = way()
            if turn:
                times[name].append(seconds)
    rate = on_root(lambda: product_rate(device, recipe))
    flops = training_flops(settings, CHANNELS, n) * batch
    of_rank = statistics.median(times["one rank"])
    return {
        "n": n,
        "depth": arguments.depth,
        "width": arguments.width,
        "batch": batch,
        "variant": variant,
        "seconds": times,
        "over_bare": ratio(times["one rank"], times["bare"]),
        "speed_up": ratio(times["one rank"], times["all ranks"]) if world.size > 1 else None,
        "samples_per_s": batch / of_rank,
        "product_rate": rate,
        "share": flops / of_rank / rate,
    }


def ours(model: LayeredModel, samples: Samples, recipe: Recipe, world: World) -> float:
    """Seconds a step of a training, from its second step on. Collective over `world`."""
    points: list[float] = []
    train(model.module, samples, None, recipe, world, None, lambda *_: points.append(now()))
    return (points[-1] - points[1]) / (len(points) - 2)


def bare(model: LayeredModel, samples: Samples, recipe: Recipe, device: torch.device) -> float:
    """Seconds a step of a plain loop, from its second step on; in float32 and eager."""
    module = model.module.to(device).to(memory_format=torch.channels_last)
    inputs, targets = samples.inputs.to(device), samples.targets.to(device)
    optimiser = torch.optim.Adam(module.parameters(), lr=recipe.rate)
    points: list[float] = []
    for step in range(recipe.steps):
        if step % 2 == 0:
            order = torch.from_numpy(stream("order", step).permutation(len(inputs))).to(device)
        chosen = order[: recipe.batch_size] if step % 2 == 0 else order[recipe.batch_size :]
        given = inputs[chosen].contiguous(memory_format=torch.channels_last)
        optimiser.zero_grad()
        loss = (module(given) - targets[chosen]).square().mean()
        loss.backward()
        optimiser.step()
        float(loss.detach())
        points.append(now())
    return (points[-1] - points[1]) / (len(points) - 2)


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def product_rate(device: torch.device, recipe: Recipe) -> float:
    """Flops a second of a product of two square matrices."""
    side = 8192 if device.type == "cuda" else 2048
    half = recipe.precision == "bf16" and device.type == "cuda"
    kind = torch.bfloat16 if half else torch.float32
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = recipe.precision == "tf32"
    a = torch.randn(side, side, device=device, dtype=kind)
    a @ a
    rates = []
    for _ in range(5):
        began = now()
        a @ a
        rates.append(2.0 * side**3 / (now() - began))
    torch.backends.cuda.matmul.allow_tf32 = before
    return statistics.median(rates)


def ratio(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Median, least and most of the ratios of each round."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return [statistics.median(ratios), min(ratios), max(ratios)]


def row(record: dict[str, Any]) -> str:
    network = f"{record['depth']} x {record['width']}, n = {record['n']}"
    of_bare, of_ranks = record["over_bare"], record["speed_up"]
    step = statistics.median(record["seconds"]["one rank"]) * 1e3
    words = (
        f"{network}, batch {record['batch']}, {record['variant']}: {step:.1f} ms a step, "
        f"{of_bare[0]:.2f} ({of_bare[1]:.2f}–{of_bare[2]:.2f}) of the bare loop, "
        f"{record['samples_per_s']:.0f} samples/s, {record['share']:.0%} of matrix products"
    )
    if of_ranks:
        words += f"; all ranks {of_ranks[0]:.2f} ({of_ranks[1]:.2f}–{of_ranks[2]:.2f}) as fast"
    return words


if __name__ == "__main__":
    main()
