"""transform.kind = "torch": an ensemble's members over ranks, each with a device of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.errors import CaseError
from eddyscope.parallel.world import World
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.solver.closure import NoClosure
from eddyscope.solver.pace import FixedPace
from eddyscope.solver.schedule import FixedSteps
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.solver.simulation import Simulation
from eddyscope.stages.dns import STAGE
from eddyscope.stages.job import Job
from small_flows import (
    assert_same_arrays,
    make_case,
    make_flow,
    make_scheme,
    make_transform_on,
    relative,
    state_of,
)
from small_runs import simulated

pytestmark = pytest.mark.mpi

MEMBERS = 5
"""Which no number of ranks but one shares out evenly."""

TERMS = [
    "grid.n=18",
    f"base.ensemble.members={MEMBERS}",
    "base.flow.beta=3.0",
    "base.flow.hyperviscosity={order=3, coefficient=1e-7}",
    "base.flow.friction={coefficient=0.2}",
    "base.flow.forcing={kind='ring', wavenumber=3.0, energy_input=0.5}",
    "filter={kind='box', n=[6, 10], precision='float64', full_fields=true}",
    "checkpoint.seconds=1e6",
]
"""Every term of the equation, and fields in double precision."""

STEPS = {"adapted": ["time={cfl=0.2}"], "fixed": ["time={dt=0.01, scheme='ab2cn'}"]}


@pytest.mark.parametrize("steps", list(STEPS))
def test_a_dataset_is_that_of_the_default_but_for_rounding(
    world, shared_tmp_path, everywhere, steps
):
    """Field by field; and on a CPU the same bits on any number of ranks."""
    terms = [*TERMS, *STEPS[steps]]
    tensors = [*terms, "transform={kind='torch', device='cpu'}"]
    if world.is_root:
        for name, overrides in (("fftw", terms), ("torch", tensors)):
            simulated(World.single(), shared_tmp_path, shared_tmp_path / name, overrides)
    found = simulated(world, shared_tmp_path, shared_tmp_path / "ranks", tensors)
    everywhere(Dataset(found).verify() == [], "checksums do not match")
    assert_same_arrays(found, shared_tmp_path / "torch" / "base" / "dataset.h5")
    ours, theirs = Dataset(found), Dataset(shared_tmp_path / "fftw" / "base" / "dataset.h5")
    for n in (6, 10):
        for name in ("psi", "omega", "pi"):
            distance = relative(ours.read(n, name), theirs.read(n, name))
            everywhere(distance < 1e-12, f"{name} on {n}: {distance}")
    for name, values in theirs.diagnostics().items():
        np.testing.assert_allclose(ours.diagnostics()[name], values, rtol=1e-11, atol=1e-13)
    for name, values in theirs.spectra().items():
        scale = np.abs(values).max()
        np.testing.assert_allclose(ours.spectra()[name], values, rtol=0, atol=1e-12 * scale)
    world.comm.Barrier()


def simulation_on(world: World, scheme: str, kind: str, precision: str = "float64") -> Simulation:
    """22 modes, stirred at random, a mark at every step; at its start. Collective."""
    transform = make_transform_on(
        world, 22, MEMBERS, (world.size, 1), precision=precision, kind=kind
    )
    forcing = {"kind": "ring", "wavenumber": 4.0, "energy_input": 0.1}
    flow = make_flow(transform, beta=1.0, forcing=forcing)
    schedule = FixedSteps.of(0, 1, 20, 1, 0.01)
    stepper, pace = make_scheme(scheme, flow, 0.01), FixedPace(schedule)
    return Simulation(flow, stepper, NoClosure(), state_of(transform), schedule, pace)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_restart_has_the_same_bits(world, shared_tmp_path, scheme, precision):
    whole = simulation_on(world, scheme, "torch", precision)
    whole.run(6, [])
    first = simulation_on(world, scheme, "torch", precision)
    first.run(3, [])
    checkpoints_of(first, shared_tmp_path).save(first.clock.as_dict(), first.state)
    second = simulation_on(world, scheme, "torch", precision)
    found = checkpoints_of(second, shared_tmp_path).load(second.clock.as_dict(), second.state)
    assert found is not None
    second.clock.restore(found)
    second.run(6, [])
    to_host = whole.flow.transform.to_host
    assert to_host(whole.omega_hat).real.dtype == precision
    for name, array in whole.state.items():
        assert to_host(array).tobytes() == to_host(second.state[name]).tobytes(), name


@pytest.mark.parametrize("kinds", [("torch", "fftw"), ("fftw", "torch")])
def test_a_checkpoint_is_read_by_another_transform(world, shared_tmp_path, kinds):
    wrote, read = (simulation_on(world, "ab2cn", kind) for kind in kinds)
    wrote.run(3, [])
    checkpoints_of(wrote, shared_tmp_path).save(wrote.clock.as_dict(), wrote.state)
    found = checkpoints_of(read, shared_tmp_path).load(read.clock.as_dict(), read.state)
    assert found is not None and found["step"] == 3
    for name, array in wrote.state.items():
        expected = wrote.flow.transform.to_host(array)
        np.testing.assert_array_equal(read.flow.transform.to_host(read.state[name]), expected)


def checkpoints_of(simulation: Simulation, folder: Path) -> Checkpoints:
    return Checkpoints(folder, CheckpointSettings(), "this run", simulation.flow.transform)


@pytest.mark.mpi(min_size=2)
def test_more_ranks_than_members_are_refused_before_anything_is_written(
    world, shared_tmp_path, everywhere
):
    out, kind = shared_tmp_path / "out", "transform.kind='torch'"
    refused = [
        [kind, f"base.ensemble.members={world.size - 1}"],
        [kind, f"transform.mesh=[1, {world.size}]"],
    ]
    for overrides in refused:
        with pytest.raises(CaseError, match="no y-pencils") as caught:
            simulated(world, shared_tmp_path, out, overrides)
        everywhere("\n" not in str(caught.value) and "fftw" in str(caught.value), "one line")
    everywhere(not out.exists(), "something was written")


def test_a_gpu_that_is_not_there_is_refused_on_all_ranks(
    world, shared_tmp_path, everywhere, monkeypatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    gpu = ["transform={kind='torch', device='cuda'}", f"base.ensemble.members={MEMBERS}"]
    with pytest.raises(CaseError, match=r'transform\.device = "cuda"') as caught:
        simulated(world, shared_tmp_path, shared_tmp_path / "out", gpu)
    everywhere("\n" not in str(caught.value), "one line")
    everywhere(not (shared_tmp_path / "out").exists(), "something was written")


def test_a_plan_says_what_a_gpu_does_not_keep(world, shared_tmp_path, everywhere, monkeypatch):
    backend = "eddyscope.spectral.backends.torch._device_of"
    overrides = ["transform.kind='torch'", f"base.ensemble.members={MEMBERS}"]
    case = world.on_root(lambda: make_case(shared_tmp_path, *overrides))
    job = Job(case, world, shared_tmp_path / "out", systems=("base",))
    monkeypatch.setattr("eddyscope.parallel.torch_group.free_memory", lambda comm: float("inf"))
    for device, says in (("cpu", False), ("cuda", True)):
        monkeypatch.setattr(backend, lambda settings, device=device: torch.device(device))
        said = "other last bits" in "\n".join(STAGE.plan(job))
        everywhere(said == says, f"on {device}")
