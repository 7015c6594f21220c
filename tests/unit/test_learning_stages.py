"""Plans and refusals of the learning stages: nothing is read, one clear line each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.evaluation import read_details, read_summary
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import read_model
from eddyscope.artefacts.normalisation import (
    Way,
    read_normalisation,
    statistics_of,
    write_normalisation,
)
from eddyscope.config.errors import CaseError
from eddyscope.config.provenance import file_digest
from eddyscope.learning import retrain
from eddyscope.learning.batches import Samples, load_fields
from eddyscope.learning.models import Model
from eddyscope.learning.retrain import Target, samples_of_base
from eddyscope.networks.registry import build
from eddyscope.parallel.failure import BlewUp, StoppedEarly
from eddyscope.parallel.stop import StopRequests
from eddyscope.parallel.world import World
from eddyscope.stages.advise import STAGE as advise
from eddyscope.stages.case import load_case
from eddyscope.stages.evaluate import STAGE as evaluate
from eddyscope.stages.job import Job
from eddyscope.stages.train import STAGE as train
from eddyscope.stages.transfer import STAGE as transfer
from synthetic import make_case, write_case, write_datasets
from synthetic_models import normalisation as own_statistics
from synthetic_models import record_of


def job_of(folder: Path, *overrides: str) -> Job:
    return Job(case=make_case(folder, *overrides), world=World.single(), out=folder)


@pytest.mark.parametrize("stage", [train, advise, transfer, evaluate])
def test_plans_need_no_files(stage, tmp_path: Path):
    lines = stage.plan(job_of(tmp_path))
    assert lines and all("\n" not in line for line in lines)
    assert [p.name for p in tmp_path.iterdir()] == ["synthetic.toml"], "a plan wrote something"


def test_plan_of_transfer_names_all_models(tmp_path: Path):
    job = job_of(
        tmp_path, 'transfer.layers=["l02", "l01+l03"]', 'transfer.controls=["all", "scale"]'
    )
    assert "4 (l02, l01+l03, all, scale; 1 seed(s))" in transfer.plan(job)[0]


@pytest.mark.parametrize(
    ("stage", "override", "words"),
    [
        (train, "training.samples=9", "training.samples = 9, but the base ensemble has 8"),
        (transfer, "transfer.samples=7", "transfer.samples = 7, but the target ensemble has 6"),
    ],
)
def test_cases_that_ask_too_much(stage, override: str, words: str, tmp_path: Path):
    job = job_of(tmp_path, override)
    for action in (stage.plan, stage.run):
        with pytest.raises(CaseError, match=words):
            action(job)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["network.kernel_size=17"], "network.kernel_size = 17 is wider than the grid of 16"),
        (['network={kind = "unet", kernel_size = 9}'], "wider than the coarse level of 8 x 8"),
        (['advise.scores=["relative_gradient"]'], "advise.default_score"),
        (["transfer.epochs=3", "transfer.steps=4"], "both say how long; give one"),
        (
            ['network.inputs=["u"]', "training.rotations=false", "training.reflections=true"],
            "it is not known what u of a mirrored flow is",
        ),
        (['network.inputs=["psi"]', 'training.loss="mse_transfer"'], "training.loss: the loss ms"),
        (['advise.scores=["linearised_gian"]'], "did you mean linearised_gain"),
    ],
)
def test_cases_that_are_refused_when_read(overrides: list[str], words: str, tmp_path: Path):
    with pytest.raises(CaseError, match=words):
        job_of(tmp_path, *overrides)


@pytest.mark.parametrize("stage", [train, advise, transfer, evaluate])
def test_missing_inputs(stage, tmp_path: Path):
    with pytest.raises(CaseError, match="missing"):
        stage.run(job_of(tmp_path))


def test_model_of_another_architecture_is_refused(tmp_path: Path):
    job = job_of(tmp_path)
    write_datasets(job.case, tmp_path, job.world)
    train.run(job)
    other = job_of(tmp_path, "network.width=5")
    for stage in (advise, transfer):
        with pytest.raises(CaseError, match=r"width = 6.*network\.width = 5"):
            stage.run(other)
    assert not (tmp_path / "advice.json").exists() and not (tmp_path / "models/transfer").exists()


def test_another_training_seed_trains_anew_on_the_same_data(tmp_path: Path):
    first = job_of(tmp_path)
    write_datasets(first.case, tmp_path, first.world)
    train.run(first)
    before = [path.read_bytes() for path in (first.dataset("base"), first.base_model)]
    other = job_of(tmp_path, "training.seed=8")
    with pytest.raises(CaseError, match=r"seeds\.training was 3, is now 8"):
        train.run(other)
    train.run(replace(other, fresh=True))
    assert first.dataset("base").read_bytes() == before[0] != before[1]
    record = read_model(first.base_model).record
    assert record.resolved.training_seed == 8 and first.base_model.read_bytes() != before[1]
    train.run(replace(first, fresh=True))
    assert first.base_model.read_bytes() == before[1], "equal trainings give equal files"
    same = job_of(tmp_path, "training.seed=3", "transfer.seed=3")  # as the case's own
    train.run(same)
    assert first.base_model.read_bytes() == before[1]
    transfer.run(same)
    written = same.model(ModelKey("l02")).read_bytes()
    model = read_model(same.model(ModelKey("l02"))).record
    assert (model.resolved.training_seed, model.resolved.transfer_seed) == (3, 3)
    assert model.resolved.base == read_model(first.base_model).digest
    transfer.run(replace(same, fresh=True))
    assert same.model(ModelKey("l02")).read_bytes() == written


def test_models_that_see_the_base_again_are_made_in_a_step_of_their_own(tmp_path: Path):
    alone = 'transfer.controls=["scale"]'
    first = job_of(tmp_path, "transfer.layers=['l02']", alone)
    write_datasets(first.case, tmp_path, first.world)
    for stage in (train, transfer):
        stage.run(first)
    before = first.model(ModelKey("l02")).stat().st_mtime_ns
    both = 'transfer.controls=["scale", "joint", {kind = "joint", base_samples = 2}]'
    more = job_of(tmp_path, "transfer.layers=['l02']", both)
    transfer.run(more)
    assert first.model(ModelKey("l02")).stat().st_mtime_ns == before, "the others are left alone"
    losses = []
    for name in ("joint", "joint(base_samples=2)"):
        record = read_model(more.model(ModelKey(name))).record
        assert record.retrained == more.case.layer_names and record.history.train
        assert record.resolved.samples == more.case.transfer.samples
        losses.append(record.history.train)
    assert losses[0] != losses[1]
    with pytest.raises(CaseError, match="= 99, but the base ensemble has 8 training samples"):
        transfer.run(job_of(tmp_path, 'transfer.controls=[{kind = "joint", base_samples = 99}]'))


@pytest.mark.parametrize("way", ["base", "target", "dimensional", "snapshot"])
def test_joint_sees_the_base_as_its_evaluation_does(tmp_path: Path, way: Way):
    """Each system by the way's own statistics, so that no shift of units is learnt."""
    case, world = make_case(tmp_path), World.single()
    write_datasets(case, tmp_path, world)
    base, target = (own_statistics(case, tmp_path, system) for system in ("base", "target"))
    network = build(case.network, case.channels, None, 16)
    model = Model(network, record_of("base", network.settings, base))
    by = statistics_of(way, base, target)
    dataset = Dataset(tmp_path / "target" / "dataset.h5")
    seen = Target.under({way: by}, dataset, 16, 2, case.channels)[way]
    opened = lambda: Dataset(tmp_path / "base" / "dataset.h5")  # noqa: E731
    samples = samples_of_base(opened, model, seen.normalisation.name, 3)
    fields = load_fields(opened(), 16, "train", 3, case.channels.fields(1))
    judged_by = model.normalisation_under(way, base, base)
    expected = Samples.of(fields, judged_by, case.channels)
    assert torch.equal(samples.inputs, expected.inputs)
    assert torch.equal(samples.targets, expected.targets)
    assert samples.targets.square().mean().item() == pytest.approx(1.0, abs=0.5)


def test_random_weights_see_the_targets_own_statistics(tmp_path: Path):
    """Under every way: what begins anew takes no scale from the base either."""
    job = job_of(tmp_path, "transfer.normalisation=dimensional")
    write_datasets(job.case, tmp_path, job.world)
    train.run(job)
    transfer.run(job)
    fresh, layer = (read_model(job.model(ModelKey(name))).record for name in ("scratch", "l01"))
    assert (fresh.resolved.normalisation, layer.resolved.normalisation) == ("target", "dimensional")
    assert fresh.normalisation == read_normalisation(job.normalisation("target"))
    weights = load_file(job.model(ModelKey("scratch")))
    evaluate.run(job)
    ways = read_summary(tmp_path / "evaluation.json").normalised
    assert ways["scratch"] == "target"
    assert {way for name, way in ways.items() if name not in ("scratch", "base")} == {"dimensional"}
    other = replace(job_of(tmp_path, "transfer.normalisation=base"), fresh=True)
    transfer.run(other)
    again = load_file(other.model(ModelKey("scratch")))
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_training_that_goes_astray_gives_way_to_the_next_best_rate(tmp_path: Path, monkeypatch):
    """Here every training counts as one: each rate is taken in the order of its trials' errors."""
    asked = "transfer.recipes=['chosen']", "transfer.rates=[0.01,0.02,0.03]", "transfer.samples=4"
    job = job_of(tmp_path, *asked, "transfer.layers=['l02']", "transfer.controls=['scale']")
    write_datasets(job.case, tmp_path, job.world)
    train.run(job)
    transfer.run(job)
    path = job.model(ModelKey.parse("l02"))
    usual = read_model(path).record
    assert usual.choice is not None and not any(each.astray for each in usual.choice.tried)
    monkeypatch.setattr(retrain, "ASTRAY", 0.0)
    transfer.run(replace(job, fresh=True))
    record = read_model(path).record
    assert record.choice is not None and record.metrics["rate"] == record.choice.rate
    tried = [each for each in record.choice.tried if each.error is not None]
    assert all(each.astray for each in tried), "the last one is kept, and told of too"
    assert record.choice.rate == max(tried, key=lambda each: each.error or 0.0).rate
    assert record.convergence.count("the training on all samples went astray") == 3
    assert record.metrics["validation_error"] == record.choice.error
    assert not list(job.transfer_folder.glob("*.ckpt"))


def test_epochs_between_checkpoints_change_no_result(tmp_path: Path):
    job = job_of(tmp_path)
    write_datasets(job.case, tmp_path, job.world)
    train.run(job)
    before = job.base_model.read_bytes()
    train.run(job_of(tmp_path, "training.checkpoint_every=3"))
    assert job.base_model.read_bytes() == before


@pytest.mark.parametrize("stage", [train, transfer])
def test_a_stage_that_is_stopped_goes_on_to_the_same_files(
    stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("eddyscope.parallel.stop.BETWEEN_LOOKS", 0.0)
    job = job_of(tmp_path, 'transfer.layers=["l02"]', 'transfer.controls=["all"]')
    write_datasets(job.case, tmp_path, job.world)
    train.run(job)
    stage.run(job)
    made = [job.base_model] if stage is train else [*job.transfer_folder.glob("*.safetensors")]
    before = {path: path.read_bytes() for path in made}
    stopping = job_of(
        tmp_path, 'transfer.layers=["l02"]', 'transfer.controls=["all"]', "stop.seconds=1e-9"
    )
    for path in made:
        path.unlink()
    with pytest.raises(StoppedEarly, match=r"at step 1 of \d+, as asked by stop.seconds = 1e-09"):
        stage.run(replace(stopping, fresh=True))
    status = json.loads((tmp_path / f"status/{stage.name}.json").read_text())
    assert (status["state"], status["exit_status"]) == ("stopped early", 4)
    assert not any(path.exists() for path in made)
    (tmp_path / "models" / "STOP").touch()
    with pytest.raises(StoppedEarly, match=r"at step \d+ of \d+, as asked by .*STOP"):
        stage.run(job)
    assert not (tmp_path / "models" / "STOP").exists()
    (tmp_path / "STOP").touch()
    with pytest.raises(StoppedEarly, match=rf"before .*, as asked by {tmp_path}/STOP; call again"):
        stage.run(job)
    entered = StopRequests.__enter__

    def late(self: StopRequests) -> StopRequests:
        (tmp_path / "STOP").touch()
        return entered(self)

    with monkeypatch.context() as patch:
        patch.setattr(StopRequests, "__enter__", late)
        with pytest.raises(StoppedEarly, match=rf"at step \d+ of \d+, as asked by {tmp_path}/STOP"):
            stage.run(job)
    assert not (tmp_path / "STOP").exists()
    stage.run(job)
    assert {path: path.read_bytes() for path in made} == before


def test_target_statistics_follow_the_samples(tmp_path: Path):
    job = job_of(tmp_path)
    write_datasets(job.case, tmp_path, job.world)
    train.run(job)
    transfer.run(job)
    before = read_normalisation(job.normalisation("target"))
    home, made = (read_model(job.model(ModelKey(name))).record for name in ("base", "all"))
    expected = statistics_of("dimensional", home.normalisation, before)
    assert made.normalisation == expected and made.resolved.normalisation == "dimensional"
    fewer = job_of(tmp_path, "transfer.samples=2")
    with pytest.raises(CaseError, match=r"transfer\.samples was 3, is now 2"):
        advise.run(fewer)
    advise.run(replace(fewer, fresh=True))
    after = read_normalisation(job.normalisation("target"))
    assert (before.samples, after.samples) == (3, 2) and before.std != after.std
    with pytest.raises(CaseError, match="transfer"):
        transfer.run(fewer)  # made with other statistics: not taken for done


def test_a_damaged_normalisation_is_refused(tmp_path: Path):
    job = job_of(tmp_path)
    write_datasets(job.case, tmp_path, job.world)
    train.run(job)
    path = job.normalisation("base")
    path.write_text(path.read_text().replace('"psi": 0.0', '"psi": 0.1'))
    with pytest.raises(CaseError, match=r"base\.json"):
        train.run(replace(job, fresh=False))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ('transfer.layers=["l00"]', "'l00', but no layer 'l00': the network has l01 … l03"),
        ('transfer.controls=["gian"]', "did you mean gain?"),
        ('transfer.controls=[{kind = "lora", rang = 2}]', "did you mean rank?"),
        ('transfer.controls=[{kind = "lora", layers = ["l04"]}]', "no layer 'l04'"),
        ('network.kind="unett"', "did you mean unet?"),
        ("network.kernel_size=17", "wider than the grid of 16 x 16 points"),
    ],
)
def test_what_no_network_has_is_refused_when_the_case_is_read(
    override: str, words: str, tmp_path: Path
):
    with pytest.raises(CaseError) as error:
        make_case(tmp_path, override)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_too_large_a_learning_rate_blows_up(tmp_path: Path):
    job = job_of(tmp_path, "training.learning_rate=1e30")
    write_datasets(job.case, tmp_path, job.world)
    with pytest.raises(BlewUp, match="no longer finite"):
        train.run(job)
    assert json.loads((tmp_path / "status.json").read_text())["exit_status"] == 3
    assert not job.base_model.exists()


def test_unusable_advice(tmp_path: Path):
    job = job_of(tmp_path)
    write_datasets(job.case, tmp_path, job.world)
    train.run(job)
    transfer.run(job)
    (tmp_path / "advice.json").write_text('{"scores": {"x": {"ranking": ["l01"]}}}')
    with pytest.raises(CaseError, match="not usable as advice"):
        evaluate.run(job)


def test_without_advice_there_is_no_score_card(tmp_path: Path):
    job = job_of(tmp_path)
    write_datasets(job.case, tmp_path, job.world)
    for stage in (train, transfer, evaluate):
        stage.run(job)
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation["score_card"] == {} and evaluation["controls"].keys() >= {"last_layer"}
    advise.run(job)
    evaluate.run(job)  # advice made later is taken up
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation["score_card"].keys() == {"relative_gradient", "linearised_gain"}


@pytest.fixture(name="evaluated")
def _evaluated(tmp_path: Path) -> Job:
    """A case that was evaluated."""
    job = job_of(tmp_path)
    write_datasets(job.case, tmp_path, job.world)
    for stage in (train, transfer, evaluate):
        stage.run(job)
    return job


def test_an_evaluation_is_kept_while_nothing_changes(evaluated: Job, capsys):
    evaluate.run(evaluated)
    assert "evaluate: complete, unchanged" in capsys.readouterr().out


def test_another_normalisation_of_the_target_redoes_the_evaluation(evaluated: Job, capsys):
    """It is an input of its own, not read off whichever model comes first."""
    before = read_summary(evaluated.out / "evaluation.json")
    path = evaluated.normalisation("target")
    found = read_normalisation(path)
    std = {**found.std, "psi": 2.0 * found.std["psi"]}
    write_normalisation(path, found.model_copy(update={"std": std}), "")
    record = evaluated.out / "status/normalise.target.json"
    status = json.loads(record.read_text())
    status["outputs"] = {name: file_digest(path) for name in status["outputs"]}
    record.write_text(json.dumps(status))
    evaluate.run(evaluated)
    assert "since what it reads was made anew" in capsys.readouterr().out
    after = read_summary(evaluated.out / "evaluation.json")
    assert after.normalisation["target"]["std"]["psi"] == std["psi"]
    assert after.models["base"] == before.models["base"], "it is as its file holds it"
    assert after.renormalised["target"] != before.renormalised["target"]


def test_other_transfer_samples_redo_the_evaluation(evaluated: Job):
    other = replace(job_of(evaluated.out, "transfer.samples=5"), fresh=True)
    transfer.run(other)
    evaluate.run(other)
    found = read_summary(evaluated.out / "evaluation.json")
    assert found.normalisation["target"]["samples"] == 5


def test_a_changed_digit_of_a_models_metadata_is_noticed(evaluated: Job):
    path = evaluated.transfer_folder / "l02.safetensors"
    content = bytearray(path.read_bytes())
    place = content.index(b"psi", content.index(b"std"))
    place = next(i for i in range(place, place + 30) if content[i] in b"12345678")
    content[place] += 1
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"l02\.safetensors"):
        evaluate.run(replace(evaluated, fresh=True))


@pytest.mark.parametrize(
    ("network", "singles"),
    [
        (["network.kind=unet", "network.width=4", "network.kernel_size=3"], 6),
        (["network.depth=2"], 2),
    ],
)
def test_networks_and_adaptations_are_evaluated_alike(
    network: list[str], singles: int, tmp_path: Path
):
    controls = 'transfer.controls=["scale", {kind="lora", layers=["l02"], rank=2}]'
    case_file = write_case(tmp_path)
    text = case_file.read_text()
    for line in ("depth = 3\n", "width = 6\n", "kernel_size = 3\n"):
        text = text.replace(line, "")
    case_file.write_text(text)
    job = Job(load_case(case_file, [*network, controls]), World.single(), tmp_path)
    write_datasets(job.case, tmp_path, job.world)
    for stage in (train, transfer, evaluate):
        stage.run(job)
    found = read_summary(tmp_path / "evaluation.json")
    lora = "lora(layers=l02,rank=2)"
    assert lora in found.models and "scale" in found.models
    assert len(found.measured_ranking) == singles
    table = read_details(tmp_path / "evaluation.h5")["table"].to_dataset()
    mine = table.where(table["model"] == lora, drop=True)
    assert set(mine["adaptation"].values) == {"lora"}
    assert set(mine["layers"].values) == {"l02"}
    assert set(mine["parameters"].values) == {"rank=2"}
