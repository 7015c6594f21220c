"""Plans and refusals of the learning stages: nothing is read, one clear line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import BlewUp
from eddyscope.parallel.world import World
from eddyscope.stages.advise import STAGE as advise
from eddyscope.stages.evaluate import STAGE as evaluate
from eddyscope.stages.job import Job
from eddyscope.stages.train import STAGE as train
from eddyscope.stages.transfer import STAGE as transfer
from synthetic import make_case, write_datasets


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
