"""train, advise, transfer, evaluate on a synthetic pair of datasets, on any number of ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.model import load_model
from eddyscope.parallel.world import World
from eddyscope.stages import advise, evaluate, train, transfer
from eddyscope.stages.job import Job
from eddyscope.storage.opening import open_to_read
from synthetic import make_case, write_datasets

pytestmark = pytest.mark.mpi

Everywhere = Callable[[bool, str], None]

NAMES = ["l01", "l02", "l03", "gain", "all", "scratch", "scale"]


def prepared(world: World, folder: Path, *overrides: str) -> Job:
    case = world.on_root(lambda: make_case(folder, *overrides))
    write_datasets(case, folder, world)
    return Job(case=case, world=world, out=folder)


def run_all(job: Job) -> None:
    for stage in (train, advise, transfer, evaluate):
        assert stage.plan(job)
        stage.run(job)


def test_the_line_from_training_to_evaluation(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    job = prepared(world, shared_tmp_path)
    run_all(job)
    evaluation = json.loads((job.out / "evaluation.json").read_text())
    everywhere(list(evaluation["models"]) == ["base", *NAMES], f"{list(evaluation['models'])}")
    for name, systems in evaluation["models"].items():
        for system in ("base", "target"):
            numbers = [systems[system][m]["mean"] for m in ("mse", "correlation", "relative_rmse")]
            everywhere(bool(np.isfinite(numbers).all()), f"{name} on {system}: {numbers}")
    ranking = evaluation["measured_ranking"]
    everywhere(sorted(ranking) == ["l01", "l02", "l03"], f"{ranking}")
    everywhere(evaluation["best"] == ranking[0], f"{evaluation['best']}")
    cards = evaluation["score_card"]
    everywhere(cards.keys() == {"relative_gradient", "linearised_gain"}, f"{cards}")
    advice = json.loads((job.out / "advice.json").read_text())
    everywhere(advice["ranking"] == advice["scores"]["linearised_gain"]["ranking"], f"{advice}")
    check_metrics_file(job, evaluation, everywhere)
    check_artefacts(job, everywhere)


def check_metrics_file(job: Job, evaluation: dict, everywhere: Everywhere) -> None:
    """evaluation.h5 holds the numbers that evaluation.json sums up."""
    with open_to_read(job.out / "evaluation.h5") as file:
        names = [name.decode() for name in file["target/model"][()]]
        values = file["target/error"][()]
        sizes = (values.shape, file["base/mse"].shape, file["target/pi_spectrum"].shape)
        pictures = file["examples/pi"].shape, len(file["examples/field"])
        curves = file["history/train"][()]
    everywhere(sizes == ((8, 2, 3), (8, 1, 4), (8, 2, 7)), f"{sizes}")
    everywhere(pictures == ((3, 16, 16), 3), f"{pictures}")
    for i, name in enumerate(names):
        summary = evaluation["models"][name]["target"]["error"]
        members = values[i].mean(axis=1)
        everywhere(abs(summary["mean"] - members.mean()) < 1e-12, f"{name}: {summary}")
        everywhere(abs(summary["std"] - members.std(ddof=1)) < 1e-12, f"{name}: {summary}")
    everywhere(bool(np.isfinite(curves[0]).all()), f"the base model's curve: {curves[0]}")


def check_artefacts(job: Job, everywhere: Everywhere) -> None:
    base = load_model(job.base_model, job.case.network)
    everywhere(base.normalisation.system == "base", f"{base.normalisation}")
    for name in NAMES:
        model = load_model(job.transfer_folder / f"{name}.safetensors", job.case.network)
        changed = [
            n
            for n in base.network.names
            if not (model.network.layer(n).weight == base.network.layer(n).weight).all()
        ]
        everywhere(changed == model.metadata["retrained"], f"{name}: {changed}")
        everywhere(model.normalisation.system == "target", f"{name}: {model.normalisation}")
    left = list(job.out.rglob("*.ckpt")) + list(job.out.rglob("*.tmp"))
    everywhere(not left, f"{left} was left behind")


def test_transfer_makes_only_what_is_missing(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    job = prepared(world, shared_tmp_path)
    train.run(job)
    transfer.run(job)
    kept, lost, cut = (job.transfer_folder / f"{n}.safetensors" for n in ("l01", "l02", "gain"))
    before = {path: path.read_bytes() for path in (lost, cut)}
    stamp = kept.stat().st_mtime_ns

    def harm() -> None:
        lost.unlink()
        cut.write_bytes(before[cut][:100])
        record = job.out / "status" / "transfer.json"
        text = json.loads(record.read_text())
        record.write_text(json.dumps({**text, "state": "running"}))

    world.comm.Barrier()  # everybody has read
    world.on_root(harm)
    transfer.run(job)
    everywhere(kept.stat().st_mtime_ns == stamp, "a sound model was made again")
    for path, content in before.items():
        expected = np.frombuffer(content, np.uint8)[-400:]  # the header holds times
        found = np.frombuffer(path.read_bytes(), np.uint8)[-400:]
        everywhere(bool((expected == found).all()), f"{path.name} has other weights")


def test_seeds_have_an_entry_each_and_one_for_all(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    job = prepared(
        world, shared_tmp_path, "transfer.seeds=2", 'transfer.layers=["l02"]', "transfer.epochs=1"
    )
    run_all(job)
    models = json.loads((job.out / "evaluation.json").read_text())["models"]
    expected = {"base", "scale"}
    for name in ("l02", "gain", "all", "scratch"):
        expected |= {name, f"{name}.seed0", f"{name}.seed1"}
    everywhere(models.keys() == expected, f"{sorted(models)}")
    each = [models[f"scratch.seed{s}"]["target"]["mse"]["mean"] for s in (0, 1)]
    everywhere(each[0] != each[1], "two seeds gave one result")
    together = models["scratch"]["target"]["mse"]
    everywhere(abs(together["mean"] - np.mean(each)) < 1e-12, f"{together}, {each}")
    everywhere(abs(together["std_seeds"] - np.std(each, ddof=1)) < 1e-12, f"{together}, {each}")
