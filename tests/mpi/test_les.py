"""The les stage on synthetic data, on any number of ranks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.les import read_les
from eddyscope.parallel.world import World
from eddyscope.spectral.backends.mpi4py_fft import Mpi4pyFft
from eddyscope.stages.job import Job
from eddyscope.stages.les import STAGE as les
from eddyscope.stages.train import STAGE as train
from eddyscope.stages.transfer import STAGE as transfer
from synthetic import make_case, write_datasets

pytestmark = pytest.mark.mpi

SHORT = ["les.duration=0.2", "les.interval=0.05", "transfer.layers=['l02']", "training.epochs=1",
         "transfer.epochs=1", "les.closures=['none', 'base', 'l02']"]  # fmt: skip


def job_of(world: World, folder: Path, *overrides: str, fresh: bool = False) -> Job:
    case = world.on_root(lambda: make_case(folder, *SHORT, *overrides))
    return Job(case=case, world=world, out=folder, fresh=fresh)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Datasets and models; tests must leave them so."""
    world = World.launched()
    folder: Path = world.on_root(lambda: tmp_path_factory.mktemp("made") / "out")
    world.on_root(folder.mkdir)
    job = job_of(world, folder)
    write_datasets(job.case, folder, world)
    train.run(job)
    transfer.run(job)
    return folder


@pytest.fixture
def job(made, world, shared_tmp_path) -> Job:
    """With a copy of them."""
    out = shared_tmp_path / "out"
    world.on_root(lambda: shutil.copytree(made, out))
    return job_of(world, out)


def test_every_closure_leaves_its_statistics(job, world, everywhere):
    assert les.plan(job)
    les.run(job)
    for name in ("dns", "none", "base", "l02"):
        found = read_les(job.out / "les" / f"{name}.h5")
        everywhere(dict(found.sizes)["member"] == 2, f"{name}: {found.sizes}")
        everywhere(found.attrs["closure"] == name, f"{found.attrs['closure']}")
        everywhere(bool(np.isfinite(found["energy"].values).all()), f"{name}: energy")
        density = found["vorticity_pdf"].values
        width = float(np.diff(found["vorticity_bin"].values)[0])
        everywhere(bool(np.all(density.sum(axis=1) * width < 1.0 + 1e-9)), f"{name}: PDF")
    start = [read_les(job.out / f"les/{n}.h5")["energy"].values[:, 0] for n in ("dns", "base")]
    everywhere(bool(np.array_equal(*start)), "all start from the filtered DNS")


def test_changed_target_samples_redo_it(job, world, everywhere):
    """What is made or normalised by those samples: not the base model as its file holds it."""
    other = "{kind = 'learned', model = 'base', normalisation = 'target'}"
    renormalised = f"les.closures=['none', 'base', {other}]"
    names = {"none": "", "base": "base", "base,normalisation=target": "target"}

    def energies() -> dict[str, np.ndarray]:
        found = {name: read_les(job.out / f"les/{name}.h5") for name in names}
        for name, way in names.items():
            everywhere(found[name].attrs["normalisation"] == way, f"{name}: {found[name].attrs}")
        return {name: run["energy"].values for name, run in found.items()}

    les.run(job_of(world, job.out, renormalised))
    before = energies()
    changed = job_of(world, job.out, "transfer.samples=2", fresh=True)
    world.comm.Barrier()
    transfer.run(changed)
    les.run(job_of(world, job.out, "transfer.samples=2", renormalised))
    after = energies()
    everywhere(bool(np.array_equal(before["none"], after["none"])), "no closure, no difference")
    everywhere(bool(np.array_equal(before["base"], after["base"])), "the base model as it is")
    differ = [not np.array_equal(before[name], after[name]) for name in names]
    everywhere(differ == [False, False, True], f"the old one was left: {differ}")


def test_it_runs_by_the_transform_that_the_case_names(job, world, everywhere, monkeypatch):
    calls = []
    plain = Mpi4pyFft.to_points

    def counted(self, field_hat):
        calls.append(1)
        return plain(self, field_hat)

    monkeypatch.setattr(Mpi4pyFft, "to_points", counted)
    found = {}
    for kind in ("fftw", "mpi4py_fft", "torch", "torch, in batches"):
        kind, *batches = kind.split(", ")
        if batches:  # as on a GPU
            backend = "eddyscope.spectral.backends.torch"
            monkeypatch.setattr(f"{backend}._one_by_one", lambda device: False)
        plan = les.plan(job_of(world, job.out, f"transform.kind='{kind}'"))
        everywhere(any("in one batch" in line for line in plan) == bool(batches), f"{plan}")
        only = [f"transform.kind='{kind}'", "les.closures=['none', 'base']"]
        les.run(job_of(world, job.out, *only, fresh=True))
        for name in ("none", "base"):
            spectrum = read_les(job.out / "les" / f"{name}.h5")["energy_spectrum"].values
            close = np.allclose(spectrum, found.setdefault(name, spectrum), rtol=1e-7, atol=1e-12)
            everywhere(bool(close), f"{name} by {kind}: the same flow")
        world.comm.Barrier()
    everywhere(not np.array_equal(found["none"], found["base"]), "a closure that does something")
    everywhere(world.comm.allreduce(len(calls)) > 0, "by the other transform")


def test_a_blow_up_is_a_result(world, shared_tmp_path, everywhere):
    wild = ["les.dt=0.1", "time.scheme='ab2cn'", "target.flow.reynolds=1e12", "les.duration=60.0"]
    job = job_of(world, shared_tmp_path, *wild, "les.closures=['none']", "les.interval=1.0")
    write_datasets(job.case, shared_tmp_path, world)
    les.run(job)
    found = read_les(shared_tmp_path / "les" / "none.h5")
    if not found["stable"].values.all():
        lost = found["stable"].values == 0
        everywhere(bool(np.isfinite(found["blow_up_time"].values[lost]).all()), "its time")
        everywhere(bool(np.isnan(found["energy"].values[lost, -1]).all()), "NaN after it")
    everywhere(bool(np.isfinite(found["omega"].values).all()), "the last finite record")
