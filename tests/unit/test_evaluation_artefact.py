"""The evaluation's three files: one content, written and read in one way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from eddyscope.artefacts import evaluation
from eddyscope.artefacts.describe import describe
from eddyscope.artefacts.evaluation import Row, Summary, interval, summarise
from eddyscope.artefacts.json_part import json_text
from eddyscope.artefacts.key import ModelKey
from eddyscope.config.errors import CaseError
from eddyscope.config.provenance import file_digest


def row(model: str, value: float, member: int = 3, system: str = "target") -> Row:
    key = ModelKey.parse(model)
    return Row(
        model,
        key.kind,
        "base" if key.is_base else "layers",
        "+".join(key.layers),
        "+".join(key.layers),
        ";".join(f"{k}={v}" for k, v in key.parameters.items()),
        None if key.is_base else 16,
        5,
        "" if key.is_base else "chosen",
        None if key.is_base else key.seed or 0,
        "base",
        system,
        "error",
        member,
        f"member {member}",
        4,
        value,
    )


ROWS = [
    row("base", 0.8),
    row("base", 0.6, member=4),
    row("lora(layers=l02,rank=4)", 0.25),
    row("lora(layers=l02,rank=4)", 0.35, member=4),
    row("l02", 0.2),
    row("l02", 0.4, member=4),
    row("l02,seed=1", 0.4),
    row("l02,seed=1", 0.6, member=4),
]


def details() -> dict[str, xr.Dataset]:
    model = ("model", np.array(["base", "l02"]))
    system = xr.Dataset(
        {"pi_spectrum": (("model", "wavenumber"), np.ones((2, 3)))}, {"model": model}
    )
    return {
        "base": system,
        "target": system,
        "history": xr.Dataset({"train": (("model", "epoch"), np.ones((2, 3)))}, {"model": model}),
        "examples": xr.Dataset({"pi": (("field", "y"), np.ones((1, 3)))}),
    }


def summary(**parts: Any) -> Summary:
    found = {
        "models": summarise(ROWS),
        "adapted": evaluation.adapted(ROWS),
        "error_removed": {},
        "measured_ranking": ["l02"],
        "best": "l02",
        **parts,
    }
    return Summary.model_validate(found)


@pytest.fixture(name="written")
def _written(tmp_path: Path) -> Path:
    evaluation.write_evaluation(tmp_path, ROWS, details(), summary(), {"case_name": "made up"})
    return tmp_path


def test_another_table_has_another_format():
    """A reader goes by the format, so it must change with the columns."""
    columns = (
        "model,adaptation,role,words,layers,parameters,samples,training_seed,recipe,seed,"
        "normalisation,system,metric,member,of,averaged,value,transfer_seed,rate,steps,"
        "held_out_error,converged"
    )
    known = {"eddyscope-evaluation-7": columns}
    assert evaluation.as_csv([]).splitlines() == [known[evaluation.FORMAT]]


def test_what_layers_add_to_three_scales_and_their_share_of_the_full_gain():
    rows = [*ROWS, row("three_scales", 0.5), row("three_scales", 0.5, member=4), row("all", 0.2)]
    rows.append(row("all", 0.2, member=4))
    beyond = evaluation.error_removed(rows, evaluation.THREE_SCALES)
    assert beyond.keys() == {"lora(layers=l02,rank=4)", "l02", "all"}
    assert beyond["l02"].mean == pytest.approx(1 - 0.4 / 0.5)
    assert (beyond["l02"].least, beyond["l02"].largest) == pytest.approx(
        (1 - 0.5 / 0.5, 1 - 0.3 / 0.5)
    )
    assert evaluation.error_removed(ROWS, evaluation.THREE_SCALES) == {}
    before = evaluation.Interval(mean=0.6)
    shares = evaluation.contribution(summarise(rows), before)
    assert shares == {"l02": pytest.approx((0.6 - 0.4) / (0.6 - 0.2))}
    assert evaluation.contribution(summarise(ROWS), before) == {}
    assert evaluation.contribution(summarise(rows), None) == {}


def test_members_and_repeats_are_told_apart():
    found = summarise(ROWS)["l02"]["target"]["error"]
    assert (found.mean, found.least, found.largest) == pytest.approx((0.4, 0.3, 0.5))
    assert (found.low, found.high, found.of) == (None, None, ""), "two of each are too few"
    assert found.repeats is not None and found.repeats.count == 2
    assert (found.repeats.least, found.repeats.largest) == pytest.approx((0.3, 0.5))
    assert list(summarise(ROWS)) == ["base", "lora(layers=l02,rank=4)", "l02"]


def test_what_is_removed_is_one_less_the_ratio_of_the_mean_errors():
    """The mean over members of their own ratios would be another number, of the same rows."""
    found = evaluation.error_removed(ROWS)["lora(layers=l02,rank=4)"]
    assert found.mean == pytest.approx(1 - 0.6 / 1.4)
    assert (found.least, found.largest) == pytest.approx((1 - 0.35 / 0.6, 1 - 0.25 / 0.8))
    repeated = evaluation.error_removed(ROWS)["l02"]
    assert repeated.mean == pytest.approx(1 - 0.4 / 0.7)
    assert repeated.repeats is not None
    assert (repeated.repeats.least, repeated.repeats.largest) == pytest.approx(
        (1 - 5 / 7, 1 - 3 / 7)
    )


def test_a_base_model_without_error_leaves_nothing_to_remove():
    found = evaluation.error_removed([row("base", 0.0), row("l02", 0.1)])["l02"]
    assert np.isnan(found.mean) and found.low is None


def test_every_model_must_say_what_it_is():
    with pytest.raises(ValueError, match="its adaptation is not told"):
        summary(adapted={})


def test_one_member_has_no_interval():
    found = summarise([row("base", 0.7)])["base"]["target"]["error"]
    assert (found.mean, found.low, found.high, found.repeats) == (0.7, None, None, None)
    dumped = json.loads(json_text(summary(models=summarise([row("l02", 0.7)]))))
    error = dumped["models"]["l02"]["target"]["error"]
    unknown = dict.fromkeys(("low", "high", "least", "largest", "repeats"))
    assert error == {"mean": 0.7, "of": "", **unknown}


SEVERAL = np.random.default_rng(4).uniform(0.2, 0.6, 6)
"""Errors of the base model in six members."""


def several(**factors: float) -> list[Row]:
    """Rows of models whose errors are the base model's times a factor, each of two repeats."""
    rows = [row("base", e, member=m) for m, e in enumerate(SEVERAL)]
    for model, factor in factors.items():
        for name, more in ((model, -0.001), (f"{model},seed=1", 0.001)):
            rows += [row(name, factor * e + more, member=m) for m, e in enumerate(SEVERAL)]
    return rows


def test_an_interval_is_about_the_mean_and_says_of_what():
    found = summarise(several())["base"]["target"]["error"]
    assert found.of == "members"
    assert found.low is not None and found.high is not None
    assert found.least is not None and found.largest is not None
    assert found.mean == pytest.approx(SEVERAL.mean())
    assert found.low < found.mean < found.high
    half, exact = (found.high - found.low) / 2, 2.571 * SEVERAL.std(ddof=1) / 6**0.5
    assert half == pytest.approx(exact, rel=0.1)
    assert (found.least, found.largest) == (SEVERAL.min(), SEVERAL.max())


def test_a_share_removed_alike_in_every_member_is_certain():
    """Numerator and denominator have the same draws; their own intervals are wide."""
    found = evaluation.error_removed(several(l02=0.5))["l02"]
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    error = summarise(several(l02=0.5))["l02"]["target"]["error"]
    assert error.low is not None and error.high is not None and error.high - error.low > 0.05


def test_differences_and_ranks_of_layers():
    rows = several(l01=0.6, l02=0.5, l03=0.5)
    errors = evaluation.target_values(rows)
    layers = {name: errors[name] for name in ("l01", "l02", "l03")}
    assert layers["l01"].shape == (2, 6)
    found = evaluation.differences(layers, "l02")
    assert found.keys() == {"l01", "l03"}
    worse = found["l01"]
    assert worse.mean == pytest.approx(0.1 * SEVERAL.mean()) and worse.of == "members"
    assert worse.low is not None and worse.low > 0.0 and worse.better == 0.0
    same = found["l03"]
    assert (same.mean, same.low, same.high, same.better) == pytest.approx((0.0, 0.0, 0.0, 0.5))
    ranks = evaluation.ranks(layers)
    assert ranks["l01"].probabilities == [0.0, 0.0, 1.0] and ranks["l02"].expected == 1.0
    two = {name: values[:, :2] for name, values in layers.items()}
    assert evaluation.ranks(two) == {} and evaluation.ranks({}) == {}
    unknown = evaluation.differences(two, "l02")["l01"]
    assert (unknown.low, unknown.high, unknown.better, unknown.of) == (None, None, None, "")


def test_an_interval_of_another_meaning_is_refused(tmp_path: Path):
    """Before, `low` and `high` were the least and the largest of the members."""
    path = tmp_path / "evaluation.json"
    path.write_text(json_text(summary().model_copy(update={"meaning": "low, high: the least"})))
    with pytest.raises(CaseError, match="its intervals mean something else"):
        evaluation.read_summary(path)


def test_the_summary_comes_back(written: Path):
    found = evaluation.read_summary(written / "evaluation.json")
    assert found.table == file_digest(written / "evaluation.csv")
    assert found.model_copy(update={"table": ""}) == summary()
    assert evaluation.read_best(written / "evaluation.json") == ModelKey("l02")


def test_a_changed_digit_of_the_table_is_noticed(written: Path):
    path = written / "evaluation.csv"
    assert any("rows: " in line for line in describe(path))
    text = path.read_text()
    path.write_text(text[:-3] + ("1" if text[-3] != "1" else "2") + text[-2:])
    with pytest.raises(CaseError, match=r"not the table that evaluation\.json was made with"):
        describe(path)
    (written / "evaluation.json").unlink()  # a table alone says nothing of itself
    assert any("rows: " in line for line in describe(path))


def test_what_is_not_finite_is_null(tmp_path: Path):
    text = json_text(summary(models={"l02": {"target": {"mse": interval(np.array([[np.inf]]))}}}))
    assert json.loads(text)["models"]["l02"]["target"]["mse"]["mean"] is None
    (tmp_path / "evaluation.json").write_text(text)
    found = evaluation.read_summary(tmp_path / "evaluation.json")
    assert np.isnan(found.models["l02"]["target"]["mse"].mean)


def test_the_table_is_tidy_and_the_same_in_both_files(written: Path):
    with open(written / "evaluation.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(ROWS)
    assert lines[2]["adaptation"] == "lora" and lines[2]["parameters"] == "rank=4"
    assert lines[0]["samples"] == "" and lines[2]["samples"] == "16"
    table = evaluation.read_details(written / "evaluation.h5")["table"].to_dataset()
    assert table.sizes == {"row": len(ROWS)}
    for name in ("model", "layers", "system", "metric"):
        assert list(table[name].values) == [line[name] for line in lines]
    assert list(table["value"].values) == [float(line["value"]) for line in lines]
    assert np.isnan(table["samples"].values[0]) and table["samples"].values[2] == 16
    with xr.open_dataset(written / "evaluation.h5", group="table", engine="h5netcdf") as again:
        assert set(again.data_vars) == set(lines[0])


def test_the_same_content_gives_the_same_bytes(written: Path, tmp_path: Path):
    other = tmp_path / "again"
    evaluation.write_evaluation(other, ROWS, details(), summary(), {"case_name": "made up"})
    for name in ("evaluation.csv", "evaluation.h5", "evaluation.json"):
        assert (other / name).read_bytes() == (written / name).read_bytes()


BROKEN = {
    "empty object": "{}",
    "list": "[]",
    "null": "null",
    "number": "3",
    "no JSON": "{",
    "nothing": "",
    "not text": "\udcff",
    "models a list": '{"models": [], "error_removed": {}, "measured_ranking": [], "best": null}',
    "best a number": '{"models": {}, "error_removed": {}, "measured_ranking": [], "best": 2}',
    "best unknown": '{"models": {}, "error_removed": {}, "measured_ranking": [], "best": "l02"}',
    "mean a text": '{"models": {"base": {"base": {"error": {"mean": "x"}}}}, "error_removed": {}, '
    '"measured_ranking": [], "best": null}',
    "a name that is none": '{"models": {"l02(": {}}, "error_removed": {}, "measured_ranking": [], '
    '"best": null}',
    "deep": "[" * 5000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("read", [evaluation.read_summary, evaluation.read_best])
def test_a_wrong_summary_is_refused_in_one_line(read: Any, content: str, tmp_path: Path):
    path = tmp_path / "evaluation.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CaseError, match=r"evaluation\.json: not a usable evaluation") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_summary_and_one_without_single_layers(tmp_path: Path):
    path = tmp_path / "evaluation.json"
    with pytest.raises(CaseError, match="missing; run `eddyscope evaluate` first"):
        evaluation.read_best(path)
    path.write_text(json_text(summary(measured_ranking=[], best=None)))
    with pytest.raises(CaseError, match="no model of a single layer"):
        evaluation.read_best(path)


def test_damaged_details_are_refused(written: Path):
    path = written / "evaluation.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaseError, match="damaged"):
        evaluation.read_details(path)


def test_another_artefact_is_no_evaluation(tmp_path: Path):
    from eddyscope.storage.small import write_tree

    write_tree(tmp_path / "evaluation.h5", {"other": xr.Dataset({"x": ("i", [1.0])})}, {})
    with pytest.raises(CaseError, match="not evaluation of this program"):
        evaluation.read_details(tmp_path / "evaluation.h5")


def test_one_changed_digit_in_a_summary_is_noticed(tmp_path: Path):
    path = tmp_path / "evaluation.json"
    text = json_text(summary())
    path.write_text(text.replace("0.7", "0.6"))
    assert path.read_text() != text
    with pytest.raises(CaseError, match="do not match their SHA-256"):
        evaluation.read_summary(path)
