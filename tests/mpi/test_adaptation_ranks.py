"""Every adaptation on several ranks: what it is on one, and the same bits on all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from eddyscope.config import provenance
from eddyscope.learning.adaptations.base import Task
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.batches import Samples
from eddyscope.learning.models import weights_of
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.trainer import train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World

pytestmark = pytest.mark.mpi

PARAMETERS = {"layers": {"layers": ["l02"], "parameters": 60}, "lora": {"rank": 2}}

# Five samples in batches of three: the last one leaves ranks with nothing.
RECIPE = Recipe(steps=6, batch_size=3, rate=1e-2, key=(5,))


def samples(count: int, seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 2, 8, 8, generator=generator)
    return Samples(inputs, (inputs[:, :1] * inputs[:, 1:]).contiguous())


def adapted(kind: str, base: LayeredModel, world: World) -> dict[str, np.ndarray]:
    """Weights and scales of the adapted network."""
    adaptation = ADAPTATIONS.build(ADAPTATIONS.settings(kind, **PARAMETERS.get(kind, {})))
    target = samples(5, 3)

    def trained(
        module: nn.Module,
        *,
        samples: Samples | None = None,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        recipe = replace(RECIPE, factors=factors or {})
        train(module, samples or target, None, recipe, world)

    module = adaptation.module(base, (2, 1))
    adaptation.fit(module, Task(target, 3, trained, lambda count: samples(count, 4)))
    scales = {f"{name}/scale": np.array(s) for name, s in adaptation.scales(module).items()}
    return weights_of(adaptation.folded(module, base)) | scales


@pytest.mark.parametrize("kind", ADAPTATIONS.entries)
def test_ranks_adapt_what_one_rank_adapts(
    kind: str, world: World, everywhere: Callable[[bool, str], None]
):
    settings = Cnn.Settings(depth=3, width=4, kernel_size=3)
    base = build(settings, Channels.of_flow(), (2,), n=8)
    together, alone = adapted(kind, base, world), adapted(kind, base, World.single())
    before = dict.fromkeys(alone, np.array(1.0)) | weights_of(base)
    worst = max(float(abs(together[name] - alone[name]).max()) for name in alone)
    moved = max(float(abs(alone[name] - before[name]).max()) for name in alone)
    everywhere(moved > 1e-3, f"{kind} moved weights by {moved} only, so this test says nothing")
    everywhere(worst < 5e-3 * moved, f"{kind}: weights differ by {worst}, moved by {moved}")
    bits = provenance.digest({name: array.tobytes().hex() for name, array in together.items()})
    everywhere(len(set(world.comm.allgather(bits))) == 1, f"{kind}: ranks end with other bits")
