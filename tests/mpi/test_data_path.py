"""Samples of a training, in memory or read while it trains: who reads what, the same bits, damage
met by all ranks, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from mpi4py import MPI

import synthetic
from eddyscope.__main__ import dispatch
from eddyscope.artefacts.dataset import reader
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.model import read_model
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.errors import CaseError
from eddyscope.learning import supply
from eddyscope.learning.batches import Selection, load_fields
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.supply import AHEAD, Streamed, fields_in_memory, in_memory
from eddyscope.learning.trainer import Saved, train
from eddyscope.networks.cnn import Cnn
from eddyscope.networks.registry import build
from eddyscope.networks.settings import Channels
from eddyscope.parallel import shared
from eddyscope.parallel.failure import StoppedEarly, guard
from eddyscope.parallel.world import World
from eddyscope.stages.job import Job
from eddyscope.stages.normalise import normalise
from eddyscope.stages.train import STAGE
from mpi.test_training_ranks import Asked, digest
from unit.test_damaged_dataset import flip, place_of

pytestmark = pytest.mark.mpi

Everywhere = Callable[[bool, str], None]

CHANNELS = Channels.of_fields(["psi", "strain"], ["pi"])
"""One of them is not in the file."""

# Batches of three of seven samples, in two passes each: ranks and passes without samples.
RECIPE = Recipe(
    steps=8, batch_size=3, rate=3e-3, key=(5,), rotations=True, noise=0.1, accumulate=2, keep="best"
)
REPRODUCIBLE = replace(RECIPE, reproducible=True, batch_size=5)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("samples")]
    assert not left


def prepared(world: World, folder: Path, *overrides: str) -> Job:
    """Normalised datasets: 2 x 4 samples to train on, 4 for validation. Collective."""
    case = world.on_root(lambda: synthetic.make_case(folder, *overrides))
    synthetic.write_dataset(case, "base", folder / "out" / "base" / "dataset.h5", world)
    job = Job(case=case, world=world, out=folder / "out")
    job.do(normalise(job, "train", ["base"]))
    return job


def selection(job: Job, count: int | None = 7, part: str = "train") -> Selection:
    return Selection.of(Dataset(job.dataset("base")), 16, part, count, CHANNELS.fields(1))


def statistics(job: Job) -> Normalisation:
    world, names = job.world, CHANNELS.names
    mine = partial(selection(job).shared_out, world.size, world.rank, names)
    return Normalisation.own("base", names, mine, world.comm)


def trained(job: Job, kind: str, recipe: Recipe, count: int = 7, **more) -> tuple[str, object]:
    """Digest of the weights, and the curves. Collective."""
    own, network = statistics(job), build(Cnn.Settings(depth=2, width=4), CHANNELS, (2,))
    chosen = selection(job, count), selection(job, None, "validation")
    if kind == "read":
        given = [Streamed.of(job.world, part, own, CHANNELS) for part in chosen]
        history = train(network.module, *given, recipe, job.world, **more)
        return digest(network), history
    with in_memory(job.world, chosen[0], own, CHANNELS) as samples:
        with in_memory(job.world, chosen[1], own, CHANNELS) as validation:
            history = train(network.module, samples, validation, recipe, job.world, **more)
    return digest(network), history


class Reads:
    """Counts what this rank reads of fields."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.calls, self.samples = 0, 0
        read = reader.Checked.read

        def counted(array, index):
            values = read(array, index)
            self.calls += 1
            self.samples += len(values)
            return values

        monkeypatch.setattr(reader.Checked, "read", counted)


@pytest.mark.parametrize(("recipe", "count"), [(RECIPE, 7), (REPRODUCIBLE, 7), (RECIPE, 2)])
def test_both_ways_give_the_same_bits(world, shared_tmp_path, everywhere, recipe, count):
    job = prepared(world, shared_tmp_path)
    found, expected = (trained(job, kind, recipe, count) for kind in ("read", "held"))
    everywhere(found == expected, f"{found} instead of {expected}")


def test_statistics_do_not_depend_on_ranks(world, shared_tmp_path, everywhere, monkeypatch):
    job = prepared(world, shared_tmp_path)
    monkeypatch.setattr("eddyscope.learning.batches.PIECE", 1)
    alone = statistics(replace(job, world=World.single()))
    everywhere(statistics(job) == alone, "other statistics than of one rank")
    everywhere(alone.mean["strain"] > 0.0, "no mean was subtracted")


def test_each_rank_reads_its_share_once(world, shared_tmp_path, everywhere, monkeypatch):
    job = prepared(world, shared_tmp_path)
    own, chosen, reads = statistics(job), selection(job, None), Reads(monkeypatch)
    with in_memory(world, chosen, own, CHANNELS) as samples:
        with chosen.reading() as read:
            mine, calls = reads.samples, reads.calls
            whole = read(range(8))["psi"][:, 0]
        everywhere(
            bool(np.array_equal(samples.inputs[:, 0], whole / np.float32(own.std["psi"]))), "values"
        )
    share = len(chosen.slab(world.size, world.rank))
    everywhere(mine == 2 * share, f"{mine} reads of fields instead of {2 * share}")
    everywhere(calls <= 2 * 2, f"{calls} calls for 2 fields of at most 2 members")
    everywhere(sum(world.comm.allgather(mine)) == 2 * 8, "not each once")


@pytest.mark.parametrize("shareable", [True, False])
def test_fields_of_all_ranks_are_those_of_one(
    world, shared_tmp_path, everywhere, monkeypatch, shareable
):
    job = prepared(world, shared_tmp_path)
    chosen = selection(job, None)
    expected = load_fields(chosen.dataset, 16, "train", None, chosen.names)
    if not shareable:
        monkeypatch.setattr(supply, "shareable", lambda comm: 0.0)
    reads = Reads(monkeypatch)
    with fields_in_memory(world, chosen) as found:
        alike = [np.array_equal(found.values[n], field) for n, field in expected.values.items()]
        everywhere(all(alike) and len(found.values) == len(alike), "values")
        about = (found.origin, found.blocks, found.spectral)
        everywhere(about == (expected.origin, expected.blocks, expected.spectral), "origin")
    share = len(chosen.slab(world.size, world.rank)) if shareable else 8
    everywhere(reads.samples == 2 * share, f"{reads.samples} reads instead of {2 * share}")


def test_read_samples_are_few_and_ahead(world, shared_tmp_path, everywhere, monkeypatch):
    job = prepared(world, shared_tmp_path)
    streamed = Streamed.of(world, selection(job, 8), statistics(job), CHANNELS)
    loaded, made = [], supply._Loaded

    def noted(*given):
        batch = made(*given)
        loaded.append(ref(batch))
        return batch

    monkeypatch.setattr(supply, "_Loaded", noted)
    steps, most = 20, 0
    with closing(streamed.given(np.array([1 + step % 7]) for step in range(steps))) as given:
        for step, current in enumerate(given, 1):
            deadline = time.monotonic() + 5.0
            while len(loaded) < min(step + AHEAD, steps) and time.monotonic() < deadline:
                time.sleep(0.001)
            most = max(most, sum(batch() is not None for batch in loaded))
            everywhere(len(loaded) == min(step + AHEAD, steps), f"{len(loaded)} at step {step}")
            del current
    everywhere(most == AHEAD + 1, f"{most} batches at a time")


def test_stopped_within_an_epoch_it_goes_on_to_the_same_bits(world, shared_tmp_path, everywhere):
    job = prepared(world, shared_tmp_path)
    expected = trained(job, "held", RECIPE)
    saved = Saved(shared_tmp_path / "a.ckpt", "a")
    for step in (1, 2):
        with pytest.raises(StoppedEarly, match=f"at step {step} of 8"):
            trained(job, "read", RECIPE, saved=saved, requests=Asked(world))
    found = trained(job, "read", RECIPE, saved=saved)
    everywhere(found == expected, f"{found} instead of {expected}")


@pytest.mark.parametrize("memory", ["0", "1"])
def test_damage_is_one_line_on_all_ranks(world, shared_tmp_path, capfd, memory):
    """Of the last sample that is trained on, once the statistics are known."""
    job = prepared(world, shared_tmp_path, "base.ensemble.split={train=3,test=1}")
    path = job.dataset("base")
    n, last = 4 * 16 * 16, place_of(path, "n016/pi")  # the last byte of 4 samples of 4 members
    world.on_root(lambda: flip(path, last - 4 * n))
    words = ["train", str(shared_tmp_path / "synthetic.toml"), "--out", str(job.out)]
    more = ["base.ensemble.split={train=3,test=1}", f"training.memory={memory}"]
    capfd.readouterr()
    status = guard(lambda: dispatch([*words, *more]))
    said = "".join(world.comm.allgather(capfd.readouterr().err))
    assert world.comm.allgather(status) == [2] * world.size, said
    (line,) = said.splitlines()
    assert "n016/pi is damaged (1 of" in line and "the first at (2, 3)" in line, line


def test_damage_is_met_while_it_trains(world, shared_tmp_path, everywhere):
    job = prepared(world, shared_tmp_path)
    own = statistics(job)
    path = job.dataset("base")
    places = selection(job).origin
    last = place_of(path, "n016/pi")
    member, sample = places[6]  # past those that are tried first
    world.on_root(lambda: flip(path, last - 4 * 256 * (15 - 4 * member - sample)))
    network = build(Cnn.Settings(depth=2, width=4), CHANNELS, (2,))
    streamed = Streamed.of(world, selection(job), own, CHANNELS)
    said = ""
    try:
        train(network.module, streamed, None, RECIPE, world)
    except CaseError as error:
        said = str(error)
    everywhere(f"the first at ({member}, {sample})" in said, f"{said!r}")


def test_the_stage_reads_what_does_not_fit(world, shared_tmp_path, everywhere, capfd):
    ends = {}
    for memory in ("0", "1"):
        folder = shared_tmp_path / memory
        world.on_root(folder.mkdir)
        job = prepared(world, folder, f"training.memory={memory}", "training.keep='best'")
        plan = "\n".join(STAGE.plan(job))
        expected = "read while it trains" if memory == "0" else "0.0 MiB in memory, one copy"
        everywhere(expected in plan, plan)
        STAGE.run(job)
        stored = read_model(job.base_model)
        weights = {name: array.tobytes() for name, array in stored.weights.items()}
        ends[memory] = weights, stored.record.history, stored.record.metrics
    everywhere(ends["0"] == ends["1"], "the models differ")
    said = "".join(world.comm.allgather(capfd.readouterr().out))
    assert said.count("train: samples: 8 for training, 4 for validation, 16 x 16 points") == 1


@pytest.mark.parametrize("machines", [1, 2, 3])
def test_machines_see_all_rows(world, everywhere, monkeypatch, machines):
    monkeypatch.setattr(shared, "SENT", 5)  # a row at a time
    machine = world.comm.Split(world.rank % machines, world.rank)
    mine = range(world.rank, 7, world.size)
    with shared.shared_rows(world.comm, (7, 2, 3), machine) as (rows, spread):
        rows[list(mine)] = np.array(mine)[:, None, None]
        spread(lambda rank: range(rank, 7, world.size))
        right = all((rows[row] == row).all() for row in range(7))
        everywhere(right, f"{rows[:, 0, 0]}")


def test_ranks_of_a_machine_share_one_copy(world, everywhere):
    node = world.comm.Split_type(MPI.COMM_TYPE_SHARED)
    with shared.shared_rows(world.comm, (2, 3)) as (rows, spread):
        spread(lambda rank: [])
        if node.rank == 0:
            rows[1, 2] = 4.0
        spread(lambda rank: [])
        everywhere(rows[1, 2] == 4.0, "a copy of its own")
