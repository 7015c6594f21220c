"""What samples take of memory is what a plan says; which memory there is; what goes to a device."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.learning import trainer
from eddyscope.learning.batches import Samples
from eddyscope.learning.sample_memory import SampleMemory
from eddyscope.learning.supply import Streamed
from eddyscope.learning.trainer import _near
from eddyscope.networks.settings import Channels
from eddyscope.parallel import memory
from eddyscope.parallel.world import World

N, BATCH = 64, 8

CHANNELS = Channels.of_flow()


class Made:
    """Samples that no file holds."""

    def __len__(self) -> int:
        return 100

    @contextmanager
    def reading(self) -> Iterator[Callable[[Sequence[int]], dict[str, np.ndarray]]]:
        def read(wanted: Sequence[int]) -> dict[str, np.ndarray]:
            shape = len(wanted), 1, N, N
            return {name: np.ones(shape, np.float32) for name in ("psi", "omega", "pi")}

        yield read


def test_what_is_read_takes_what_is_planned():
    """That of torch is worked out: of each batch at hand one tensor of all its numbers."""
    shape, world = (len(CHANNELS.names), N, N), World.single()
    memory = SampleMemory.of(world, (100, 0), shape, BATCH, 0.0)
    assert not memory.holds_all and memory.all_of_them == 100 * 4 * 3 * N * N
    ones = dict.fromkeys(CHANNELS.names, 1.0)
    zeros = dict.fromkeys(CHANNELS.names, 0.0)
    by = Normalisation(name="base", system="base", samples=1, mean=zeros, std=ones)
    streamed = Streamed.of(world, Made(), by, CHANNELS)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        with closing(streamed.given(np.arange(BATCH) for _ in range(12))) as given:
            batches = [len(next(given).at(np.arange(BATCH))) for _ in range(12)]
        arrays = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert batches == [BATCH] * 12
    tensors = 5 * BATCH * 4 * 3 * N * N  # at hand, three ahead, and the one that is made
    assert 0.8 * memory.of_a_rank < arrays + tensors < memory.of_a_rank
    assert f"{memory.of_a_rank / 2**20:.1f} MiB on each rank" in memory.words


def test_what_fits_is_held():
    def memory(limit: float | None) -> SampleMemory:
        return SampleMemory.of(World.single(), (4, 1), (3, 8, 16), 2, limit)

    size = 5 * 4 * 3 * 8 * 16
    assert memory(size / 2**30).holds_all and not memory((size - 1) / 2**30).holds_all
    assert memory(None).holds_all
    assert "16 x 8 points, 0.0 MiB in memory, one copy a machine" in memory(None).words
    assert memory(0.0).parts == (2, 1)


def test_half_of_what_there_is_by_default(monkeypatch: pytest.MonkeyPatch):
    comm = World.single().comm
    monkeypatch.setattr(memory, "installed", lambda: 1000.0)
    assert memory.shareable(comm) == 500.0 and memory.shareable(comm, 2e12) == 2e12


@pytest.mark.parametrize(
    ("listed", "files", "allowed"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "70"}, 70.0),
        ("4:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "60"}, 60.0),
        ("3:cpu:/a\n", {"a/memory.max": "50"}, float("inf")),
    ],
)
def test_limits_of_schedulers_hold(tmp_path: Path, listed: str, files: dict, allowed: float):
    (tmp_path / "cgroup").write_text(listed)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert memory._allowed(tmp_path / "cgroup", str(tmp_path / "fs")) == allowed
    assert memory._allowed(tmp_path / "none", str(tmp_path / "fs")) == float("inf")


def test_samples_go_to_a_device_that_has_room(monkeypatch: pytest.MonkeyPatch):
    device, world = torch.device("meta"), World.single()
    samples = Samples(torch.ones(4, 2, 8, 8), torch.ones(4, 1, 8, 8))
    for free, there in ((2.0 * samples.bytes, "meta"), (2.0 * samples.bytes - 1, "cpu")):
        monkeypatch.setattr(trainer, "free_memory", lambda comm, free=free: free)
        assert _near(samples, device, world).first.inputs.device.type == there
