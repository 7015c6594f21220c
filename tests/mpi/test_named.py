"""Cases that name datasets and a base model in place of making them: the whole chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.model import read_model
from eddyscope.artefacts.normalisation import read_normalisation
from eddyscope.parallel.world import World
from eddyscope.stages.job import Job
from eddyscope.stages.train import STAGE as train
from synthetic import make_case, write_datasets

pytestmark = pytest.mark.mpi

Everywhere = Callable[[bool, str], None]

NAMING = """
name = "second"
seed = 4
[base]
dataset = "first/base/dataset.h5"
[target]
dataset = "first/target/dataset.h5"
[training]
model = "first/models/base.safetensors"
[transfer]
samples = {samples}
epochs = 2
layers = ["l02"]
controls = ["all"]
[advise]
samples = 2
scores = ["relative_gradient"]
default_score = "relative_gradient"
[les]
closures = ["none", "best"]
duration = 0.05
interval = 0.05
"""


def prepared(world: World, folder: Path, samples: int = 3) -> tuple[Path, list[Path]]:
    """A case that names what another has made, and those files."""
    first = folder / "first"
    world.on_root(first.mkdir)
    case = world.on_root(lambda: make_case(folder))
    write_datasets(case, first, world)
    train.run(Job(case=case, world=world, out=first))
    path = folder / "second.toml"
    world.on_root(lambda: path.write_text(NAMING.format(samples=samples)))
    named = [first / f"{system}/dataset.h5" for system in ("base", "target")]
    return path, [*named, first / "models/base.safetensors"]


def state(paths: list[Path]) -> dict[str, tuple[int, str]]:
    return {
        str(p): (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths
    }


def test_the_whole_chain_on_what_is_named(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    if world.size > 2:
        pytest.skip("each stage is tried on more ranks by tests of its own")
    path, named = prepared(world, shared_tmp_path)
    before = world.on_root(lambda: state(named))
    out = shared_tmp_path / "out"
    for stage, *more in (
        ["run"],
        ["dns", "--fresh"],
        ["train", "--fresh"],
        ["transfer", "--fresh"],
    ):
        assert dispatch([stage, str(path), "--out", str(out), *more]) == 0
        world.comm.Barrier()
        everywhere(state(named) == before, "a file that is named was written")
    made = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    for name in ("evaluation.json", "analysis.h5", "advice.json", "les/best.h5", "les/dns.h5"):
        everywhere(name in made, f"{name} is missing among {sorted(made)}")
    everywhere("report/index.html" in made, "no report")
    for name in ("base/dataset.h5", "target/dataset.h5", "models/base.safetensors"):
        everywhere(name not in made, f"{name} was made")
    record = read_model(named[-1]).record
    own = read_normalisation(out / "normalisation/base.json")
    everywhere(own == record.normalisation, "the base model's normalisation is not its own")
    inputs = json.loads((out / "status/transfer.json").read_text())["inputs"]
    everywhere({str(p) for p in named[1:]} <= inputs.keys(), f"{inputs}")


def test_other_samples_need_no_other_simulation(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    path, named = prepared(world, shared_tmp_path)
    before = world.on_root(lambda: state(named))
    for samples in (2, 6):
        out = shared_tmp_path / f"of_{samples}"
        words = [f"transfer.samples={samples}", "advise.samples=1", "--out", str(out)]
        for stage in ("transfer", "advise", "evaluate"):
            assert dispatch([stage, str(path), *words]) == 0
        world.comm.Barrier()
        model = read_model(out / "models/transfer/l02.safetensors")
        everywhere(model.record.resolved.samples == samples, f"{model.record.resolved}")
    everywhere(state(named) == before, "a file that is named was written")


OWN_DATA = """
name = "own"
[base]
dataset = "base.h5"
[base.ensemble]
split = {kind = "time", gap = 1.0, blocks = 2}
[target]
dataset = "target.h5"
[target.ensemble]
split = {kind = "time", train = 0.5, validation = 0.0, test = 0.5, gap = 1.0, blocks = 3}
[network]
depth = 2
width = 3
kernel_size = 3
padding = "zeros"
inputs = ["omega", "heat"]
outputs = ["pi"]
[training]
epochs = 2
batch_size = 4
[transfer]
samples = 4
normalisation = "target"
epochs = 2
[advise]
samples = 3
"""


def imported(folder: Path, name: str, seed: int) -> None:
    """One long run in a channel, with a field that flows here do not have."""
    rng = np.random.default_rng(seed)
    options = []
    for field, mean in (("omega", 0.0), ("pi", 0.0), ("heat", 3.0)):
        values = mean + rng.standard_normal((30, 8, 12))
        np.save(folder / f"{name}_{field}.npy", values)
        file = str(folder / f"{name}_{field}.npy")
        options += ["--field", f"heat={file}"] if field == "heat" else [f"--{field}", file]
    words = ["--dims", "sample,y,x", "--interval", "0.5", "--walls", "y", "--length", "1,2"]
    assert dispatch(["import", str(folder / f"{name}.h5"), *options, *words]) == 0


def test_own_data_of_a_channel_from_import_to_report(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    if world.size in (1, 4):
        pytest.skip("on one rank tests/reliability/test_own_data.py; four bring nothing new")
    for seed, name in enumerate(("base", "target")):
        imported(shared_tmp_path, name, seed)
    path, out = shared_tmp_path / "own.toml", shared_tmp_path / "out"
    world.on_root(lambda: path.write_text(OWN_DATA))
    assert dispatch(["run", str(path), "--out", str(out)]) == 0
    world.comm.Barrier()
    record = read_model(out / "models/base.safetensors").record
    everywhere(record.channels.inputs == ("omega", "heat"), f"{record.channels}")
    mean = record.normalisation.mean
    everywhere(mean["omega"] == 0.0 and abs(mean["heat"] - 3.0) < 0.2, f"{mean}")
    found = json.loads((out / "evaluation.json").read_text())
    everywhere(found["members"] == {"base": [0, 1], "target": [0, 1, 2]}, f"{found['members']}")
    metrics = set(found["models"]["l01"]["target"])
    everywhere(metrics >= {"mse", "correlation", "enstrophy_transfer_error"}, f"{metrics}")
    everywhere("spectrum_error" not in metrics, f"{metrics}")
    rows = (out / "evaluation.csv").read_text().splitlines()
    everywhere(any("samples 17-20 of member 0" in row for row in rows), f"{rows[:3]}")
    made = {p.name for p in out.rglob("*") if p.is_file()}
    everywhere({"advice.json", "index.html"} <= made, f"{made}")
    everywhere(not {"analysis.h5", "dns.h5"} & made, "what cannot be was made")
