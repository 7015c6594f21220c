"""What computes is said in words, and GPUs that are left idle are told of."""

from __future__ import annotations

import pytest

from eddyscope.parallel import processors
from eddyscope.parallel.processors import Computing, visible_gpus, words

pytestmark = pytest.mark.mpi

GPUS = 8
"""Of the node that is made believe: more than the ranks that any test has."""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A node whose driver has so many GPUs, and other devices."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(processors, "DEVICES", tmp_path)
    for name in ("nvidiactl", "nvidia-uvm", "null", *(f"nvidia{i}" for i in range(GPUS))):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, 8), ("", 0), ("-1", 0), ("0", 1), ("3, 1", 2), ("GPU-ab,MIG-cd,0", 3), ("1,-1,2", 1)],
)
def test_gpus_are_those_of_the_driver_unless_some_are_chosen(driver, monkeypatch, chosen, expected):
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert len(visible_gpus()) == expected


def test_no_driver_no_gpu(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(processors, "DEVICES", tmp_path / "none")
    assert visible_gpus() == []


def test_cpus_leave_gpus_idle(world, driver, everywhere):
    first, warning = words(world, Computing("float64", instead="buy none"))
    everywhere(first.startswith(f"computes on CPUs, {world.size} rank(s), "), first)
    everywhere(first.endswith("float64"), first)
    expected = f"warning: {GPUS} of {GPUS} GPU(s) of these nodes are left idle: buy none"
    everywhere(warning == expected, warning)


def test_ranks_take_gpus_in_turn(world, driver, everywhere):
    first, warning = words(world, Computing("float32", uses_gpu=lambda: True))
    everywhere(first == f"computes on {world.size} GPU(s), {world.size} rank(s), float32", first)
    idle = f"{GPUS - world.size} of {GPUS} GPU(s) of these nodes are left idle"
    everywhere(idle in warning and f"start {GPUS} ranks" in warning, warning)


def test_ranks_that_share_a_gpu_are_warned(world, driver, everywhere, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    found = words(world, Computing("float32", uses_gpu=lambda: True))
    expected = [f"computes on 1 GPU(s), {world.size} rank(s), float32"]
    if world.size > 1:
        expected.append(
            f"warning: {world.size} rank(s) share 1 GPU(s), which is slow; start one rank a GPU"
        )
    everywhere(found == expected, f"{found}")


def test_a_launcher_that_shows_each_rank_its_own(world, driver, everywhere, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(world.rank))
    found = words(world, Computing("float32", uses_gpu=lambda: True))
    first = f"computes on {world.size} GPU(s), {world.size} rank(s), float32"
    everywhere(found == [first], f"{found}")


def test_without_gpus_there_is_nothing_to_warn_of(world, tmp_path, everywhere, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(processors, "DEVICES", tmp_path)
    everywhere(len(words(world, Computing("float64"))) == 1, "one line")
