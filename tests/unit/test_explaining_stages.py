"""advise and analyze as stages, for every network and for cases out of the ordinary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import synthetic
import synthetic_models
from eddyscope.artefacts.advice import read_advice, read_advice_details
from eddyscope.artefacts.analysis import read_analysis
from eddyscope.artefacts.json_part import with_digest
from eddyscope.artefacts.key import ModelKey
from eddyscope.config.errors import CaseError
from eddyscope.learning.models import Model, load_model, save_model
from eddyscope.networks.registry import NETWORKS
from eddyscope.parallel.world import World
from eddyscope.stages.advise import STAGE as advise
from eddyscope.stages.analyze import STAGE as analyze
from eddyscope.stages.job import Job
from small_networks import override


def prepared(out: Path, *overrides: str) -> Job:
    """Datasets, models and an evaluation under `out`."""
    world = World.single()
    case = synthetic.make_case(out, *overrides)
    synthetic.write_datasets(case, out, world)
    synthetic_models.write_models(case, out)
    return Job(case=case, world=world, out=out)


def with_base(job: Job, value: float) -> None:
    """All parameters of layer l02 of the base model set to `value`."""
    model = load_model(job.base_model)
    with torch.no_grad():
        for parameter in model.network.parameters_of("l02").values():
            parameter.fill_(value)
    save_model(job.base_model, Model(model.network, model.record))


@pytest.mark.parametrize("kind", [*NETWORKS])
def test_every_network_is_advised_on_and_analysed(kind: str, tmp_path: Path):
    job = prepared(tmp_path, override(kind))
    names = job.case.layer_names
    for stage in (advise, analyze):
        assert stage.plan(job)
        stage.run(job)
    advice = read_advice(tmp_path / "advice.json", names)
    assert advice.samples == 2 and sorted(advice.by_default.ranking) == names
    details = read_advice_details(tmp_path / "advice.h5")
    assert details["values"].dims == ("score", "layer")
    assert details["linearised_gain/held_out"].dims == ("layer", "iteration")
    analysis = read_analysis(tmp_path / "analysis.h5")
    others = analysis.attrs["left_out"]
    assert list(analysis["kernels/base"].children) == [n for n in names if n not in others]
    assert others == ("l04 (ConvTranspose2d)" if kind == "user" else "")
    assert (analysis.attrs["shift_error"] > 1e-3) == (kind != "cnn")
    assert advice.shift_error is not None
    assert analysis.attrs["best"] == synthetic_models.BEST
    for run in json.loads(analysis.attrs["runs"]):
        group = analysis[f"activations/{run}"].to_dataset()
        assert list(dict.fromkeys(group.layer.values)) == names
        assert np.isfinite(group.h.values[:, :7]).all(), "shells that every grid has"
    assert {"adaptation", "adapted_layers"} <= set(analysis["changes"].data_vars)


def test_advice_json_says_the_default_scores_ranking(tmp_path: Path):
    job = prepared(tmp_path, 'advise.default_score="relative_gradient"')
    advise.run(job)
    text = json.loads((tmp_path / "advice.json").read_text())
    score = text["scores"]["relative_gradient"]
    assert (text["ranking"], text["ties"]) == (score["ranking"], score["ties"])
    assert text["reason"].startswith("By relative_gradient")


def test_a_layer_of_zeros_is_advised_on(tmp_path: Path):
    """All layers before it have no gradient, and it has no size to compare its own with."""
    job = prepared(tmp_path, 'advise.default_score="relative_gradient"')
    with_base(job, 0.0)
    advise.run(job)
    advice = read_advice(tmp_path / "advice.json")
    text = json.loads((tmp_path / "advice.json").read_text())
    assert text["scores"]["relative_gradient"]["values"]["l02"] is None
    assert np.isnan(advice.by_default.values["l02"]) and advice.by_default.ranking[-1] == "l02"
    assert "not defined for l02" in advice.reason
    gain = advice.scores["linearised_gain"]
    assert gain.values["l01"] == 0.0 and np.isfinite(list(gain.values.values())).all()


@pytest.mark.parametrize("samples", [1, 3])
def test_any_number_of_samples_will_do(samples: int, tmp_path: Path):
    job = prepared(tmp_path, f"advise.samples={samples}")
    advise.run(job)
    assert read_advice(tmp_path / "advice.json").samples == samples


def test_more_samples_than_transfer_uses_are_refused(tmp_path: Path):
    with pytest.raises(CaseError, match=r"advise\.samples = 100.*transfer\.samples = 3; lower"):
        prepared(tmp_path, "advise.samples=100")


def test_one_score_alone(tmp_path: Path):
    job = prepared(
        tmp_path, 'advise.scores=["relative_gradient"]', 'advise.default_score="relative_gradient"'
    )
    advise.run(job)
    assert not read_advice_details(tmp_path / "advice.h5")["relative_gradient"].data_vars


def test_without_single_layers_there_is_no_best(tmp_path: Path):
    job = prepared(tmp_path, 'transfer.layers=["l02+l03"]', 'transfer.controls=["gain"]')
    analyze.run(job)
    analysis = read_analysis(tmp_path / "analysis.h5")
    assert analysis.attrs["best"] == ""
    assert json.loads(analysis.attrs["runs"]).keys() == {"base_on_base", "base_on_target"}
    assert "l02+l03" in analysis["kernels"].children


def test_no_test_members_are_refused_in_the_plan(tmp_path: Path):
    case = synthetic.make_case(tmp_path)
    alone = case.target.ensemble.model_copy(update={"members": 1, "split": None})
    target = case.target.model_copy(update={"ensemble": alone})
    case = case.model_copy(update={"target": target})
    job = Job(case=case, world=World.single(), out=tmp_path)
    for action in (analyze.plan, analyze.run):
        with pytest.raises(CaseError, match="target ensemble has no test members"):
            action(job)


def test_samples_that_are_not_there_are_refused_in_the_plan(tmp_path: Path):
    case = synthetic.make_case(tmp_path, "transfer.samples=7")
    job = Job(case=case, world=World.single(), out=tmp_path)
    for action in (advise.plan, advise.run):
        with pytest.raises(CaseError, match=r"transfer\.samples = 7, .* has 6 training samples"):
            action(job)


@pytest.mark.parametrize("name", ["advice.json", "advice.h5", "analysis.h5"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_what_is_no_artefact_of_ours_is_refused_in_one_line(
    name: str, content: bytes, tmp_path: Path
):
    read = {
        "advice.json": read_advice,
        "advice.h5": read_advice_details,
        "analysis.h5": read_analysis,
    }[name]
    path = tmp_path / name
    with pytest.raises(CaseError, match=name):
        read(path)
    path.write_bytes(content)
    with pytest.raises(CaseError, match=name) as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"default_score": "other"}, "not among its scores"),
        ({"scores": {}}, "not among its scores"),
        ({"samples": "many"}, "samples"),
        ({"extra": 1}, "extra"),
    ],
)
def test_advice_that_was_edited_is_refused(change: dict, words: str, tmp_path: Path):
    score = {"ranking": ["l01", "l02"], "values": {"l01": 0.2, "l02": None}, "ties": []}
    advice = {
        "default_score": "x",
        "scores": {"x": score},
        "samples": 1,
        "normalisation": "base",
        "reason": "…",
    }
    path = tmp_path / "advice.json"
    path.write_text(with_digest(advice))
    assert read_advice(path).by_default.groups == [["l01"], ["l02"]]
    path.write_text(with_digest({**advice, **change}))
    with pytest.raises(CaseError, match=words):
        read_advice(path)
    for wrong in ({"ranking": ["l01"]}, {"ties": [["l01", "l09"]]}):
        path.write_text(with_digest({**advice, "scores": {"x": {**score, **wrong}}}))
        with pytest.raises(CaseError, match="not usable as advice"):
            read_advice(path)


def test_one_changed_digit_in_an_advice_is_noticed(tmp_path: Path):
    """By whoever reads it: as a value it would be as good as any."""
    score = {"ranking": ["l01", "l02"], "values": {"l01": 0.25, "l02": None}, "ties": []}
    advice = {
        "default_score": "x",
        "scores": {"x": score},
        "samples": 1,
        "normalisation": "base",
        "reason": "…",
    }
    path = tmp_path / "advice.json"
    for text in (with_digest(advice).replace("0.25", "0.26"), json.dumps(advice)):
        path.write_text(text)
        with pytest.raises(CaseError, match="do not match their SHA-256"):
            read_advice(path)


def test_models_are_named_by_their_keys(tmp_path: Path):
    job = prepared(
        tmp_path, 'transfer.controls=["all", {kind = "lora", layers = ["l02"], rank = 2}]'
    )
    analyze.run(job)
    changes = read_analysis(tmp_path / "analysis.h5")["changes"].to_dataset()
    keys = [ModelKey.parse(str(name)) for name in changes.model.values]
    assert [key.kind for key in keys] == list(changes.adaptation.values)
    assert "lora" in changes.adaptation.values
