"""Training on several ranks: the same result as on one, the same bits after a kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eddyscope.config import provenance
from eddyscope.learning.batches import Samples
from eddyscope.learning.device import configure_torch
from eddyscope.learning.history import Stretch
from eddyscope.learning.logs import LOGS
from eddyscope.learning.models import weights_of
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.trainer import Saved, mean_loss, train
from eddyscope.networks.base import LayeredModel
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import NETWORKS, build
from eddyscope.networks.settings import Channels, NetworkSettings
from eddyscope.parallel.failure import BlewUp, StoppedEarly
from eddyscope.parallel.world import World

pytestmark = pytest.mark.mpi

SETTINGS = Cnn.Settings(depth=3, width=6, kernel_size=3)

# Seven samples in batches of three: blocks are uneven, and the last batch (one sample)
# leaves ranks with nothing on any rank count above one. Four passes; checkpoints within some.
RECIPE = Recipe(steps=12, batch_size=3, rate=3e-3, key=(5,), rotations=True, checkpoint_every=5)

Everywhere = Callable[[bool, str], None]


def samples(count: int = 7, seed: int = 3) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 2, 8, 8, generator=generator)
    return Samples(inputs, (inputs[:, :1] * inputs[:, 1:]).contiguous())


def network(settings: NetworkSettings = SETTINGS) -> LayeredModel:
    return build(settings, Channels.of_flow(), (2,))


def digest(trained: LayeredModel) -> str:
    arrays = weights_of(trained)
    return provenance.digest({name: array.tobytes().hex() for name, array in arrays.items()})


def test_ranks_train_what_one_rank_trains(world: World, everywhere: Everywhere):
    together, alone = network(), network()
    history = train(together.module, samples(), samples(4, seed=9), RECIPE, world)
    reference = train(alone.module, samples(), samples(4, seed=9), RECIPE, World.single())
    worst = max(
        float((a - b).detach().abs().max())
        for a, b in zip(together.module.parameters(), alone.module.parameters(), strict=True)
    )
    change = alone.layers["l02"].weight - network().layers["l02"].weight
    moved = float(change.detach().abs().max())
    everywhere(worst < 1e-3 * moved, f"weights differ by {worst}, training moved {moved}")
    everywhere(moved > 1e-2, f"training moved weights by {moved} only, so this test says nothing")
    for part in ("train", "validation"):
        for a, b in zip(getattr(history, part), getattr(reference, part), strict=True):
            everywhere(abs(a - b) < 1e-4 * b, f"{part} loss {a} instead of {b}")
    everywhere(history.train[-1] < 0.95 * history.train[0], f"it did not learn: {history.train}")


def test_all_ranks_end_with_the_same_bits(world: World, everywhere: Everywhere):
    trained = network()
    train(trained.module, samples(), None, RECIPE, world)
    digests = world.comm.allgather(digest(trained))
    everywhere(len(set(digests)) == 1, f"{digests}")


def test_killed_training_goes_on_to_the_same_bits(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    # Wide enough for several buckets of gradients, whose layout decides the order of sums.
    settings = Cnn.Settings(depth=6, width=64, kernel_size=5)
    saved = Saved(shared_tmp_path / "a.ckpt", "a")
    whole, broken = network(settings), network(settings)
    history = train(whole.module, samples(), samples(2), RECIPE, world)

    # Stopped after the third pass, it leaves the checkpoint of step 5, as a kill would.
    train(broken.module, samples(), samples(2), replace(RECIPE, steps=9), world, saved)
    everywhere(saved.path.exists(), "no checkpoint was left")
    resumed = network(settings)
    points: list[int] = []
    found = train(
        resumed.module,
        samples(),
        samples(2),
        RECIPE,
        world,
        saved,
        lambda step, note: points.append(step),
    )
    everywhere(points == [6, 9, 12], f"it trained to {points}, not from the checkpoint on")
    everywhere(digest(resumed) == digest(whole), "the weights have other bits")
    everywhere(found == history, f"the history is {found}, not {history}")


def test_going_on_with_other_threads_is_said_and_kept(
    world: World,
    shared_tmp_path: Path,
    everywhere: Everywhere,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    saved = Saved(shared_tmp_path / "l02.ckpt", "a")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train(network().module, samples(), None, replace(RECIPE, steps=9), world, saved)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    history = train(network().module, samples(), None, RECIPE, world, saved)
    expected = [Stretch(0, world.size, 1), Stretch(5, world.size, 2)]
    everywhere(history.stretches == expected, f"{history.stretches}")
    said = f"l02: goes on on {world.size} rank(s) of 2 thread(s) after steps on {world.size} rank"
    everywhere(not world.is_root or said in capsys.readouterr().out, "it did not say so")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    configure_torch(world)


REPRODUCIBLE = replace(RECIPE, reproducible=True, noise=0.1, batch_size=6, steps=8, accumulate=2)


def test_a_reproducible_training_has_the_bits_of_one_rank(world: World, everywhere: Everywhere):
    together, alone = network(), network()
    history = train(together.module, samples(20), samples(4, seed=9), REPRODUCIBLE, world)
    expected = train(alone.module, samples(20), samples(4, seed=9), REPRODUCIBLE, World.single())
    everywhere(digest(together) == digest(alone), "the weights have other bits")
    curves = history.train, history.validation, history.travel
    everywhere(curves == (expected.train, expected.validation, expected.travel), f"{curves}")
    plain = network()
    train(plain.module, samples(20), None, replace(REPRODUCIBLE, reproducible=False), world)
    ours, theirs = weights_of(together), weights_of(plain)
    worst = max(float(abs(ours[name] - theirs[name]).max()) for name in ours)
    everywhere(0.0 < worst < 1e-4, f"weights differ by {worst} from those of plain training")


def test_a_reproducible_training_goes_on_on_any_number_of_ranks(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    saved = Saved(shared_tmp_path / "a.ckpt", "a")
    often = replace(REPRODUCIBLE, checkpoint_every=3)
    whole, broken = network(), network()
    history = train(whole.module, samples(20), None, REPRODUCIBLE, World.single())
    if world.is_root:
        train(network().module, samples(20), None, replace(often, steps=5), World.single(), saved)
    world.comm.Barrier()
    found = train(broken.module, samples(20), None, often, world, saved)
    everywhere(digest(broken) == digest(whole), "the weights have other bits")
    everywhere(found.train == history.train, f"{found.train}, not {history.train}")
    everywhere(len(found.stretches) == 1 + (world.size > 1), f"{found.stretches}")


def test_a_batch_in_pieces_is_the_same_to_rounding(world: World, everywhere: Everywhere):
    whole, pieces = network(), network()
    train(whole.module, samples(), None, RECIPE, world)
    train(pieces.module, samples(), None, replace(RECIPE, accumulate=3), world)
    ours, theirs = weights_of(whole), weights_of(pieces)
    worst = max(float(abs(ours[name] - theirs[name]).max()) for name in ours)
    everywhere(worst < 1e-4, f"weights differ by {worst}")


class Asked:
    """Asks rank 0 alone to stop, each time at the next step."""

    by = "USR1"

    def __init__(self, world: World):
        self.world = world

    def pending(self) -> bool:
        return self.world.is_root

    def any(self) -> bool:
        return bool(self.world.comm.allreduce(self.pending()))


def test_a_training_that_is_stopped_again_and_again_has_the_same_bits(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    saved = Saved(shared_tmp_path / "a.ckpt", "a", logs=[LOGS.settings("jsonl")])
    whole, broken = network(), network()
    history = train(whole.module, samples(), samples(2), RECIPE, world)
    for step in range(1, RECIPE.steps):
        stopped = ""
        try:
            train(
                network().module, samples(), samples(2), RECIPE, world, saved,
                requests=Asked(world),
            )  # fmt: skip
        except StoppedEarly as error:
            stopped = str(error)
        everywhere(f"at step {step} of 12" in stopped, f"it said {stopped!r} at step {step}")
    found = train(broken.module, samples(), samples(2), RECIPE, world, saved)
    everywhere(digest(broken) == digest(whole), "the weights have other bits")
    everywhere(found == history, f"the history is {found}, not {history}")
    lines = (shared_tmp_path / "a.metrics.jsonl").read_text().splitlines()
    everywhere(len(lines) == 4, f"{lines}")


def test_a_unet_is_trained_as_on_one_rank(world: World, everywhere: Everywhere):
    if world.size > 2:
        pytest.skip("another network brings nothing new on more ranks")
    settings = NETWORKS.settings("unet", width=3)
    together, alone = network(settings), network(settings)
    train(together.module, samples(), None, RECIPE, world)
    train(alone.module, samples(), None, RECIPE, World.single())
    ours, theirs = weights_of(together), weights_of(alone)
    worst = max(float(abs(ours[name] - theirs[name]).max()) for name in ours)
    everywhere(worst < 1e-4, f"weights differ by {worst}")


def test_checkpoint_of_another_training_is_not_used(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    path = shared_tmp_path / "a.ckpt"
    train(network().module, samples(), None, RECIPE, world, Saved(path, "another"))
    everywhere(path.exists(), "no checkpoint was left")
    trained, fresh = network(), network()
    history = train(trained.module, samples(), None, RECIPE, world, Saved(path, "this"))
    train(fresh.module, samples(), None, RECIPE, world)
    everywhere(history.steps == [3, 6, 9, 12], f"{history}")
    everywhere(digest(trained) == digest(fresh), "the stale checkpoint was used")


def test_damaged_checkpoint_is_not_used(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    path = shared_tmp_path / "a.ckpt"
    train(network().module, samples(), None, RECIPE, world, Saved(path, "a"))
    world.on_root(lambda: path.write_bytes(path.read_bytes()[:-9]))
    trained, fresh = network(), network()
    train(trained.module, samples(), None, RECIPE, world, Saved(path, "a"))
    train(fresh.module, samples(), None, RECIPE, world)
    everywhere(digest(trained) == digest(fresh), "the damaged checkpoint was used")


def test_frozen_layers_stay(world: World, everywhere: Everywhere):
    trained = network()
    trained.module.requires_grad_(False)
    trained.layers["l02"].requires_grad_(True)
    train(trained.module, samples(), None, RECIPE, world)
    kept = all(
        torch.equal(trained.layers[n].weight, network().layers[n].weight) for n in ("l01", "l03")
    )
    everywhere(kept, "a frozen layer moved")
    moved = not torch.equal(trained.layers["l02"].weight, network().layers["l02"].weight)
    everywhere(moved, "the trained layer did not move")


def test_blow_up_is_met_by_all_ranks(world: World, everywhere: Everywhere):
    poisoned = samples()
    poisoned.inputs[6] = float("inf")  # one sample, so one rank meets it first
    try:
        trained = network()
        train(trained.module, poisoned, None, RECIPE, world)
        words = ""
    except BlewUp as error:
        words = str(error)
    everywhere("no longer finite at step" in words and "in epoch 1" in words, f"{words!r}")
    finite = all(bool(p.isfinite().all()) for p in trained.module.parameters())
    everywhere(finite, "the step was taken")


def test_mean_loss_does_not_depend_on_ranks(world: World, everywhere: Everywhere):
    trained, data = network(), samples(5)
    with torch.no_grad():
        expected = float((trained(data.inputs) - data.targets).square().mean())
    found = mean_loss(trained.module, data, 2, world)
    everywhere(abs(found - expected) < 1e-6 * expected, f"{found} instead of {expected}")
