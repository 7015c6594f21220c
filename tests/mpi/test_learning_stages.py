"""train, advise, transfer, evaluate on a synthetic pair of datasets, on any number of ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.evaluation import read_details
from eddyscope.artefacts.key import ModelKey
from eddyscope.learning.metrics import METRICS
from eddyscope.learning.models import Model, load_model
from eddyscope.parallel.failure import CannotWrite
from eddyscope.parallel.world import World
from eddyscope.stages.advise import STAGE as advise
from eddyscope.stages.evaluate import STAGE as evaluate
from eddyscope.stages.job import Job
from eddyscope.stages.train import STAGE as train
from eddyscope.stages.transfer import STAGE as transfer
from small_networks import override
from synthetic import make_case, write_datasets

pytestmark = pytest.mark.mpi

Everywhere = Callable[[bool, str], None]

NAMES = ["l01", "l02", "l03", "scale", "three_scales", "gain", "all", "scratch"]


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
    everywhere(
        evaluation["beyond_scales"].keys() == {*NAMES} - {"three_scales"}
        and evaluation["contribution"].keys() == {"l01", "l02", "l03"}
        and list(evaluation["renormalised"]) == ["dimensional", "base", "target", "snapshot"]
        and evaluation["renormalised"]["base"] == evaluation["models"]["base"]["target"]
        and {n: w for n, w in evaluation["normalised"].items() if w != "dimensional"}
        == {"base": "base", "scratch": "target"}
        and advice["normalisation"] == "dimensional",
        "what is said of normalisations",
    )
    check_metrics_file(job, evaluation, everywhere)
    check_artefacts(job, everywhere)


def check_metrics_file(job: Job, evaluation: dict, everywhere: Everywhere) -> None:
    """evaluation.h5 holds the numbers that evaluation.json sums up."""
    tree = read_details(job.out / "evaluation.h5")
    target, examples = tree["target"], tree["examples"]
    sizes = (target["error"].shape, tree["base/mse"].shape, target["pi_spectrum"].shape)
    everywhere(sizes == ((9, 2, 3), (9, 1, 4), (9, 2, 7)), f"{sizes}")
    everywhere(examples["pi"].shape == (3, 16, 16), f"{examples['pi'].shape}")
    for name in target["model"].values:
        summary = evaluation["models"][name]["target"]["error"]
        members = target["error"].sel(model=name).mean("sample").values
        for key, value in (
            ("mean", members.mean()),
            ("least", members.min()),
            ("largest", members.max()),
        ):
            everywhere(abs(summary[key] - value) < 1e-12, f"{name}: {summary}")
        alone = evaluation["models"][name]["base"]["error"]  # one test member
        everywhere(alone["low"] is None and alone["high"] is None, f"{name}: {alone}")
    curve = tree["history/train"].values[0]
    everywhere(bool(np.isfinite(curve).all()), f"the base model's curve: {curve}")
    # All models on 1 + 2 members, and the base model on the target normalised in 3 other ways.
    rows, models = tree["table"].sizes["row"], 1 + len(NAMES)
    everywhere(rows == models * len(METRICS) * 3 + 3 * len(METRICS) * 2, f"{rows} rows")


def check_artefacts(job: Job, everywhere: Everywhere) -> None:
    base = load_model(job.base_model, job.case.network)
    everywhere(base.normalisation.system == "base", f"{base.normalisation}")
    for name in NAMES:
        model = load_model(job.transfer_folder / f"{name}.safetensors", job.case.network)
        changed = [
            n
            for n in base.network.layers
            if not (model.network.layers[n].weight == base.network.layers[n].weight).all()
        ]
        everywhere(changed == model.record.retrained, f"{name}: {changed}")
        way = "target" if name == "scratch" else "dimensional"
        everywhere(model.normalisation.name == way, f"{name}: {model.normalisation}")
    left = list(job.out.rglob("*.ckpt")) + list(job.out.rglob("*.tmp"))
    everywhere(not left, f"{left} was left behind")


@pytest.mark.parametrize(("kind", "count"), [("unet", 6), ("user", 5)])
def test_every_stage_works_for_another_network(
    world: World, shared_tmp_path: Path, everywhere: Everywhere, kind: str, count: int
):
    controls = 'transfer.controls=["gain", "scale", {kind = "lora", layers = ["l03"], rank = 1}]'
    network = override(kind)
    if world.size > 2:
        pytest.skip("another network brings nothing new on more ranks")
    short = "training.epochs=2", "transfer.epochs=1"
    job = prepared(world, shared_tmp_path, network, controls, *short)
    run_all(job)
    evaluation = json.loads((job.out / "evaluation.json").read_text())
    layers = [f"l{number:02d}" for number in range(1, count + 1)]
    names = ["base", *layers, "gain", "scale", "lora(layers=l03,rank=1)"]
    everywhere(list(evaluation["models"]) == names, f"{list(evaluation['models'])}")
    everywhere(sorted(evaluation["measured_ranking"]) == layers, "a layer is not ranked")
    for name in names[1:]:
        key = ModelKey.parse(name)
        model, base = (load_model(job.model(k), job.case.network) for k in (key, ModelKey()))
        old, new = (m.network.module.state_dict() for m in (base, model))
        moved = [
            layer
            for layer in layers
            if not all((old[k] == new[k]).all() for k in base.network.parameters_of(layer))
        ]
        everywhere(moved == model.record.retrained, f"{name} changed {moved}")


def test_a_full_disk_in_one_group_is_heard_by_all(
    world: World, shared_tmp_path: Path, everywhere: Everywhere, monkeypatch: pytest.MonkeyPatch
):
    job = prepared(world, shared_tmp_path, "transfer.epochs=1")
    train.run(job)

    def save(path: Path, model: Model) -> None:
        if path.stem == "gain":
            raise CannotWrite(f"{path}: cannot be written")

    monkeypatch.setattr("eddyscope.learning.retrain.save_model", save)
    try:
        transfer.run(job)
        said = ""
    except CannotWrite as error:
        said = str(error)
    everywhere("gain.safetensors: cannot be written" in said, said or "no error")


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


def test_seeds_have_rows_each_and_one_entry_for_all(
    world: World, shared_tmp_path: Path, everywhere: Everywhere
):
    job = prepared(
        world, shared_tmp_path, "transfer.seeds=2", 'transfer.layers=["l02"]', "transfer.epochs=1"
    )
    run_all(job)
    models = json.loads((job.out / "evaluation.json").read_text())["models"]
    names = {"base", "scale", "three_scales", "l02", "gain", "all", "scratch"}
    everywhere(models.keys() == names, f"{sorted(models)}")
    errors = read_details(job.out / "evaluation.h5")["target/mse"].mean("sample")
    each = [float(errors.sel(model=name).mean()) for name in ("scratch", "scratch,seed=1")]
    everywhere(each[0] != each[1], "two seeds gave one result")
    together = models["scratch"]["target"]["mse"]
    everywhere(abs(together["mean"] - np.mean(each)) < 1e-12, f"{together}, {each}")
    repeats = together["repeats"]
    everywhere(repeats["count"] == 2, f"{repeats}")
    everywhere(abs(repeats["least"] - min(each)) < 1e-12, f"{repeats}, {each}")
    everywhere(abs(repeats["largest"] - max(each)) < 1e-12, f"{repeats}, {each}")
