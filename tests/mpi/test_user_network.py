"""A user's network on ranks: one result on any number of them, one error, the same bits after a
kill."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eddyscope.__main__ import make_job, parse
from eddyscope.config.errors import CaseError
from eddyscope.learning.batches import Samples
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.trainer import Saved, train
from eddyscope.learning.training_mode import random_numbers, used_parameters
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.registry import build
from eddyscope.networks.state import state_of
from eddyscope.parallel.world import World
from small_networks import AWKWARD, ONE, small_network
from synthetic import write_case

pytestmark = pytest.mark.mpi

# Seven samples in batches of three: the last batch leaves ranks with nothing.
RECIPE = Recipe(steps=12, batch_size=3, rate=1e-2, key=(5,), checkpoint_every=5)

Everywhere = Callable[[bool, str], None]


def samples(count: int = 7, seed: int = 3) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 2, 8, 8, generator=generator)
    return Samples(inputs, (inputs[:, :1] * inputs[:, 1:]).contiguous())


def network(dropout: bool) -> LayeredModel:
    model = build(small_network("user"), ONE, (2,), 8)
    if not dropout:  # whose masks are each rank's own
        model.module.get_submodule("drop").p = 0.0
        # Batch normalisation takes away what a bias before it adds: its gradient is rounding.
        model.module.get_parameter("first.bias").requires_grad_(False)
    return model


def run(model: LayeredModel, world: World, recipe: Recipe = RECIPE, saved: Saved | None = None):
    data = samples(), samples(4, seed=9)
    return train(model.module, *data, recipe, world, saved, channels_last=model.channels_last)


def same(a: LayeredModel, b: LayeredModel) -> bool:
    ours, theirs = state_of(a.module), state_of(b.module)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_statistics_are_those_of_the_whole_batch(world: World, everywhere: Everywhere):
    together, alone = network(False), network(False)
    found, expected = run(together, world), run(alone, World.single())
    ours, theirs = state_of(together.module), state_of(alone.module)
    for name, tensor in ours.items():
        worst = float((tensor - theirs[name]).detach().abs().max())
        everywhere(worst < 2e-4, f"{name} differs by {worst}")
    moved = float((ours["norm.running_mean"]).abs().max())
    everywhere(moved > 1e-2, f"the running mean moved by {moved} only: this test says nothing")
    everywhere(int(ours["norm.num_batches_tracked"]) == 12, "batches are counted")
    for a, b in zip(found.validation, expected.validation, strict=True):
        everywhere(abs(a - b) < 1e-3 * b, f"validation {a} instead of {b}")
    kept = network(False).module.get_parameter("spare.weight")
    everywhere(torch.equal(ours["spare.weight"], kept), "what is never used was trained")


def test_all_ranks_end_with_the_same_state(world: World, everywhere: Everywhere):
    trained = network(True)
    run(trained, world)
    all_states = world.comm.allgather({k: t.tolist() for k, t in state_of(trained.module).items()})
    everywhere(all(state == all_states[0] for state in all_states), "ranks differ")


def test_a_killed_training_goes_on_to_the_same_bits(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    saved = Saved(shared_tmp_path / "a.ckpt", "a")
    whole, broken, resumed = network(True), network(True), network(True)
    history = run(whole, world)
    run(broken, world, replace(RECIPE, steps=9), saved)
    torch.manual_seed(99)  # another process has other random numbers
    found = run(resumed, world, saved=saved)
    everywhere(found == history, f"the history is {found}, not {history}")
    everywhere(same(resumed, whole), "the state has other bits")
    everywhere(not same(network(True), whole), "nothing was trained")


class Skipping(nn.Module):
    """Leaves layers out at random while it is trained, by random numbers of three libraries, and
    one in its first pass in any case."""

    def __init__(self) -> None:
        super().__init__()
        with random_numbers("weights", (2,), torch.device("cpu")):
            self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)
            self.rest = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(3))
        self.begun = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        drawn = float(torch.rand(1)), random.random(), float(np.random.random())  # noqa: NPY002
        for share, layer in zip(drawn, self.rest, strict=True):
            if not self.training or (share < 0.5 and self.begun):
                x = x + torch.tanh(layer(x))
        self.begun = self.begun or self.training
        last: Tensor = self.last(x)
        return last


def test_layers_that_are_skipped_at_random_are_trained(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    def trained(steps: int = 12, saved: Saved | None = None) -> nn.Module:
        model = Skipping()
        train(model, samples(), None, replace(RECIPE, steps=steps), world, saved)
        return model

    saved = Saved(shared_tmp_path / "a.ckpt", "a")
    whole, start = trained(), dict(Skipping().named_parameters())
    for name, parameter in whole.named_parameters():
        everywhere(not torch.equal(parameter, start[name]), f"{name} was not trained")
    states = world.comm.allgather({k: t.tolist() for k, t in whole.state_dict().items()})
    everywhere(all(state == states[0] for state in states), "ranks differ")
    trained(9, saved)
    random.seed(world.rank)  # another process has other random numbers
    resumed = trained(saved=saved).state_dict()
    same_bits = all(torch.equal(t, resumed[name]) for name, t in whole.state_dict().items())
    everywhere(same_bits, "a training that goes on ends with other bits")


def test_batch_normalisation_that_some_ranks_skip_is_refused(world: World, everywhere: Everywhere):
    """Else one would wait for the samples of another that is elsewhere."""

    class Normalised(Skipping):
        def __init__(self) -> None:
            super().__init__()
            self.rest[0] = nn.BatchNorm2d(4)

    words = ""
    try:
        train(Normalised(), samples(), None, RECIPE, world)
    except CaseError as error:
        words = str(error)
    expected = "the network leaves batch normalisation (rest.0) out of a step on some ranks alone"
    everywhere(words.startswith(expected) == (world.size > 1), f"told {words!r}")


@pytest.mark.parametrize("kind", ["cnn", "unet", "user"])
def test_which_networks_may_leave_layers_out(world: World, everywhere: Everywhere, kind: str):
    model = build(small_network(kind), ONE, (2,), 8).module
    x, drawn = samples().inputs, random.getstate()
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with used_parameters(model, x) as used:
        found = len(used.at_times)
    everywhere(found == (len(used.parameters) if kind == "user" else 0), f"{found} may be left out")
    everywhere(random.getstate() == drawn, "trials draw random numbers")
    changed = [name for name, b in model.named_buffers() if not torch.equal(b, kept[name])]
    everywhere(not changed, f"trials change {changed}")


def test_what_only_one_rank_meets_is_told_by_all(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    """Such as a file that a node does not see."""
    source = shared_tmp_path / "net.py"
    world.on_root(lambda: source.write_text(AWKWARD.read_text() + f"\n# {shared_tmp_path}\n"))
    case = world.on_root(lambda: write_case(shared_tmp_path))
    last = world.rank == world.size - 1
    override = "network={kind='user',path='net.py',class='Awkward'}"
    arguments = parse(["train", str(case), override, "--out", str(shared_tmp_path / "out")])
    failing = pytest.MonkeyPatch()
    try:
        if last and not world.is_root:
            failing.setattr("eddyscope.networks.user.provenance.file_digest", lambda path: "other")
        words = ""
        try:
            make_job(arguments, world)
        except CaseError as error:
            words = str(error)
        expected = "not the file that it was" if world.size > 1 else ""
        everywhere(expected in words and bool(words) == bool(expected), f"told: {words!r}")
    finally:
        failing.undo()
    names = [name for name in sys.modules if name.startswith("eddyscope_user_")]
    everywhere(bool(names) or last, "the file was run")
