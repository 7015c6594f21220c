"""What a plan says of a GPU's memory, and refuses. There is no GPU here: a batch is one of a CPU's,
whose allocations torch records."""

from __future__ import annotations

import pytest
import torch

from eddyscope.config.errors import CaseError
from eddyscope.parallel import torch_group
from eddyscope.parallel.memory import require_device_memory
from eddyscope.parallel.world import World
from eddyscope.spectral.backends.torch import Torch, batch_memory
from eddyscope.spectral.distribution import Share
from eddyscope.stages.dns import STAGE
from eddyscope.stages.job import Job
from small_flows import make_case, make_flow, make_transform_on, state_of

pytestmark = pytest.mark.mpi

MEMBERS = 8


def peak_of(work) -> int:
    """Bytes that torch has allocated at the most while `work` is done, over what it had."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    held = peak = 0
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("n", [32, 64])
def test_a_batch_takes_what_is_counted(monkeypatch, n):
    """But for the work of the FFT library on a GPU, a sixth to a fifth of it."""
    monkeypatch.setattr("eddyscope.spectral.backends.torch._one_by_one", lambda device: False)
    transform = make_transform_on(World.single(), n, MEMBERS, kind="torch")
    flow, state = make_flow(transform), state_of(transform)
    out = transform.zeros_spectral()
    found = peak_of(lambda: flow.advection(state, out))
    counted = batch_memory(transform.grid, Share.largest(transform.grid, (1, 1), MEMBERS, 1))
    assert 0.6 * counted < found <= counted, f"{found} of {counted}"


def test_a_plan_says_what_a_gpu_needs_and_refuses_what_it_has_not(
    world, shared_tmp_path, everywhere, monkeypatch
):
    overrides = ["transform.kind='torch'", f"base.ensemble.members={MEMBERS}"]
    case = world.on_root(lambda: make_case(shared_tmp_path, *overrides))
    job = Job(case, world, shared_tmp_path / "out", systems=("base",))
    everywhere("of its GPU" not in "\n".join(STAGE.plan(job)), "a CPU has none")
    monkeypatch.setattr(Torch.Settings, "uses_gpu", lambda self: True)
    monkeypatch.setattr(torch_group, "free_memory", lambda comm: 1e12)
    everywhere("MiB of its GPU" in "\n".join(STAGE.plan(job)), "what it needs")
    monkeypatch.setattr(torch_group, "free_memory", lambda comm: 1e12 if comm.rank else 1e3)
    with pytest.raises(CaseError, match=r"dns\.base needs \d+ MiB of a GPU") as caught:
        STAGE.plan(job)
    everywhere("\n" not in str(caught.value) and "0 MiB; use" in str(caught.value), "one line")


def test_what_fits_is_not_refused(world):
    require_device_memory(world.comm, "dns.base", 100.0, 100.0)
    require_device_memory(world.comm, "dns.base", 0.0)
    with pytest.raises(CaseError, match="more ranks"):
        require_device_memory(world.comm, "dns.base", 100.0, 99.0 if world.is_root else 200.0)
