"""Rate and steps are chosen alike on any number of ranks, all of them at work on one model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import read_model
from eddyscope.parallel.world import World
from eddyscope.stages.job import Job
from eddyscope.stages.train import STAGE as train
from eddyscope.stages.transfer import STAGE as transfer
from synthetic import make_case, write_datasets

pytestmark = pytest.mark.mpi

Everywhere = Callable[[bool, str], None]

SETTINGS = (
    'transfer.recipes=["chosen"]',
    'transfer.layers=["l02"]',
    "transfer.controls=[]",
    "transfer.epochs=8",
    "training.epochs=2",
)


def test_the_choice_is_that_of_one_rank(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    """The base model is one file: the last bits of its training are those of its ranks."""
    case = world.on_root(lambda: make_case(shared_tmp_path, *SETTINGS))
    write_datasets(case, shared_tmp_path, world)
    together = Job(case=case, world=world, out=shared_tmp_path)
    train.run(together)
    transfer.run(together)
    found = read_model(together.model(ModelKey("l02"))).record
    world.comm.Barrier()
    if world.is_root:
        together.model(ModelKey("l02")).unlink()
        transfer.run(Job(case=case, world=World.single(), out=shared_tmp_path))
    world.comm.Barrier()
    alone = read_model(together.model(ModelKey("l02"))).record
    assert found.choice is not None and alone.choice is not None
    same = (found.choice.rate, found.choice.steps) == (alone.choice.rate, alone.choice.steps)
    everywhere(same, f"{found.choice} against {alone.choice}")
    far = abs(found.choice.error / alone.choice.error - 1.0)
    everywhere(far < 1e-4, f"held-out errors differ by {far:.1e}")
    left = list(together.transfer_folder.glob("*.choice.json"))
    everywhere(not left, f"{left} was left behind")
