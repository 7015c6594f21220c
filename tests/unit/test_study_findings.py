"""What a study says of made-up errors whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.findings import (
    Finding,
    ModelRow,
    findings_of,
    model_rows,
    shifts_of,
    write_findings,
)
from eddyscope.artefacts.study import Error, read_table, write_errors
from eddyscope.report import study_figures
from eddyscope.report.figures import Drawn, draw
from eddyscope.report.study_figures import STUDY_PICTURES
from eddyscope.report.study_page import every_model, gains, which_layer, write_page
from eddyscope.report.style import styled
from synthetic_study import errors

PLANTED = {
    "l01": 0.32, "l02": 0.25, "l03": 0.30, "l04": 0.34, "l05": 0.38,
    "scale": 0.44, "three_scales": 0.40, "base base": 0.55, "base dimensional": 0.60,
    "all": 0.20, "scratch": 0.70,
}  # fmt: skip
"""l02 is the best of the layers, and error grows with depth after it."""


def only(rows: list[Error]) -> Finding:
    (found,) = findings_of(shifts_of(rows))
    return found


def by_name(rows: list[Error]) -> dict[str, ModelRow]:
    (shift,) = shifts_of(rows)
    return {row.model.name: row for row in model_rows(shift)}


def test_a_layer_that_is_the_best_is_found_with_its_gains():
    found = only(errors(PLANTED, held_out=PLANTED))
    assert (found.best, found.tied, found.chosen) == ("l02", (), {"l02": 3})
    assert found.probability == 1.0
    assert found.error.of == "members and repeats" and found.shift.repeats_are == "base models"
    assert found.regret.mean == found.regret.low == found.regret.high == 0.0
    truth = {
        "three_scales": 1 - 0.25 / 0.40,
        "scale": 1 - 0.25 / 0.44,
        "untouched": 1 - 0.25 / 0.55,
    }
    for name, share in truth.items():
        assert found.beyond[name].low <= share <= found.beyond[name].high
        assert found.beyond[name].mean == pytest.approx(share, abs=0.01)
    assert found.all_beyond.mean == pytest.approx(1 - 0.20 / 0.25, abs=0.01)
    assert found.contribution.mean == pytest.approx((0.60 - 0.25) / (0.60 - 0.20), abs=0.01)
    assert found.contribution.low < 0.875 < found.contribution.high
    assert found.depth.mean == pytest.approx(0.7) and found.depth.low <= 0.7 <= found.depth.high


def test_differences_are_paired():
    """Members and base models differ by some 20 %, alike for all models: that drops out."""
    rows = by_name(errors(PLANTED))
    one, paired = rows["l03"].error, rows["l03"].against_best
    assert 0.0 < paired.low < 0.05 < paired.high
    assert one.high - one.low > 4.0 * (paired.high - paired.low)
    assert rows["l02"].against_best is None and rows["three_scales"].against_three_scales is None
    assert rows["l02"].against_three_scales.mean == pytest.approx(-0.15, abs=0.02)
    assert [rows[n].tied for n in ("l01", "l02", "all")] == [False, True, None]
    assert rows["all"].contribution.mean == pytest.approx(1.0)
    assert rows["base (base)"].contribution is rows["all"].probability is None


def test_ties_are_told_as_ties():
    level = {**PLANTED, **dict.fromkeys(("l01", "l02", "l03"), 0.25)}
    found = only(errors(level, noise=0.01))
    assert {found.best, *found.tied} == {"l01", "l02", "l03"}
    assert found.probability < 0.95
    equal = only(errors({**PLANTED, "l04": 0.25}, noise=0.0))
    assert (equal.best, equal.tied, equal.probability) == ("l02", ("l04",), 1.0)


def test_what_the_held_out_error_chooses_and_what_it_costs():
    found = only(errors(PLANTED, held_out={**PLANTED, "l02": 0.31}))
    assert found.chosen == {"l03": 3}
    assert found.regret.low < 0.05 < found.regret.high and found.regret.low > 0.0
    assert found.chosen_beyond.mean == pytest.approx(1 - 0.30 / 0.40, abs=0.02)
    rows = errors(PLANTED, held_out=PLANTED)
    mixed = [replace(r, held_out_error=0.1) if (r.model, r.training_seed) == ("l03", "1") else r
             for r in rows]  # fmt: skip
    assert only(mixed).chosen == {"l02": 2, "l03": 1}
    none = only(errors(PLANTED))
    assert (none.chosen, none.regret, none.chosen_error) == ({}, None, None)


def test_of_one_seed_and_one_member_no_interval_is_claimed(tmp_path: Path):
    rows = errors(PLANTED, seeds=1, members=1, held_out=PLANTED)
    found = only(rows)
    assert (found.best, found.tied, found.probability) == ("l02", (), None)
    shares = [*found.beyond.values(), found.contribution, found.all_beyond, found.depth]
    for each in (found.error, found.regret, found.chosen_error, found.chosen_beyond, *shares):
        assert (each.low, each.high, each.of) == (None, None, "")
    write_findings(tmp_path, shifts_of(rows))
    for name in ("findings", "summary"):
        table = read_table(tmp_path / f"{name}.csv")
        for column in (c for c in table.columns if c.endswith(("_low", "_high"))):
            assert set(table.column(column)) == {""}, column
        assert set(table.column("resampled")) == {""}
    text = str(which_layer([found])) + str(gains([found])) + str(every_model(found.shift))
    assert "0.2" in text and " to " not in "".join(map(str, which_layer([found]).rows))
    assert "No intervals" in text and "as everywhere here" in text


@pytest.mark.parametrize(
    ("seeds", "members", "of"),
    [(1, 3, "members"), (3, 1, "repeats"), (2, 4, "members"), (3, 3, "members and repeats")],
)
def test_what_is_resampled_is_said(tmp_path: Path, seeds: int, members: int, of: str):
    shifts = shifts_of(errors(PLANTED, seeds=seeds, members=members))
    assert findings_of(shifts)[0].error.of == of
    write_findings(tmp_path, shifts)
    told = set(read_table(tmp_path / "summary.csv").column("resampled"))
    assert told == {of.replace("repeats", "base models")}


def test_few_test_members_are_told():
    found = findings_of(
        shifts_of([*errors(PLANTED, members=4, case="few"), *errors(PLANTED, case="enough")])
    )
    notes = " ".join(which_layer(found).notes)
    assert "Of fewer than 5 test members they are rough: few (4)." in notes
    assert "rough" not in " ".join(which_layer(found[1:]).notes)


def test_repeats_of_one_base_model_are_its_re_trainings():
    rows = errors(PLANTED, seeds=1)
    again = [replace(r, cell=f"{r.cell}{seed}", transfer_seed=str(seed))
             for r in rows for seed in range(3)]  # fmt: skip
    (shift,) = shifts_of(again)
    assert (shift.repeats, shift.repeats_are, shift.base_models) == (3, "re-trainings", 1)
    several = errors(PLANTED, seeds=3)
    nested = [replace(r, cell=f"{r.cell}{seed}", transfer_seed=str(seed))
              for r in several for seed in range(2)]  # fmt: skip
    (shift,) = shifts_of(nested)
    assert shift.repeats == 3, "re-trainings of one base model are not counted as independent"
    assert shift.models["l02"].trainings == 6


def test_convergence_is_counted():
    row = by_name(errors(PLANTED))["l02"]
    assert (row.model.trainings, row.model.converged, row.model.judged) == (3, 2, 3)
    found = only(errors(PLANTED))
    assert which_layer([found]).rows[0][-1] == "2 of 3; 10 of 15"
    table = every_model(found.shift)
    assert [row[0] for row in table.rows][1:4] == [
        "base (dimensional) (base dimensional)",
        "l01",
        "l02",
    ]
    assert table.best == (3,) and table.rows[3][-1] == "2 of 3"


def test_models_at_equal_rates_are_no_layers_of_the_ranking():
    rows = errors(PLANTED)
    matched = [replace(r, model="l04,recipe=matched", recipe="matched", error=0.01)
               for r in rows if r.model == "l04"]  # fmt: skip
    assert only([*rows, *matched]).best == "l02"
    assert only([*rows, *matched]).shift.layers == only(rows).shift.layers


def test_a_base_model_that_lacks_a_model_is_left_out_of_all(tmp_path: Path):
    rows = [r for r in errors(PLANTED) if (r.model, r.training_seed) != ("all", "2")]
    (shift,) = shifts_of(rows)
    assert {m.errors.shape for m in shift.models.values()} == {(2, 5)}
    assert {m.repeats for m in shift.models.values()} == {(" 0", " 1")}


def test_layers_that_are_not_finite_come_last():
    rows = [replace(r, error=np.inf) if r.model == "l02" else r for r in errors(PLANTED)]
    assert only(rows).best == "l03"


def test_without_floors_and_ceilings_what_can_be_said_is_said(tmp_path: Path):
    few = {name: value for name, value in PLANTED.items() if name[0] == "l"}
    shifts = shifts_of(errors(few))
    (found,) = findings_of(shifts)
    assert found.best == "l02" and set(found.beyond.values()) == {None}
    assert found.all_beyond is found.contribution is None
    write_page(tmp_path, "x", shifts, [], {"made_up": (1, 1)})
    assert "not complete" not in (tmp_path / "study.html").read_text()


def test_errors_survive_their_table(tmp_path: Path):
    rows = errors(PLANTED, held_out=PLANTED)
    write_errors(tmp_path / "errors.csv", rows)
    table = read_table(tmp_path / "errors.csv")
    assert len(table.rows) == len(rows)
    assert table.columns[:4] == ("training.seed", "transfer.samples", "case", "cell")
    assert np.array(table.column("error"), float) == pytest.approx([r.error for r in rows])


def test_the_page_tells_that_cells_are_missing_and_has_all_tables(tmp_path: Path):
    rows = [r for n in (4, 16) for r in errors(PLANTED, samples=n, held_out=PLANTED)]
    shifts = shifts_of(rows)
    write_page(tmp_path, "x", shifts, ["transfer.samples"], {"a": (3, 7), "b": (2, 2)})
    text = " ".join((tmp_path / "study.html").read_text().split())
    assert "This study is not complete: 5 of 9 cells are there." in text
    assert "a 3 of 7." in text and "b 2 of 2" not in text
    assert text.count("<details>") == 2 and "made_up, 4 samples" in text
    for picture in ("layers", "samples"):
        assert (tmp_path / "pictures" / f"{picture}.png").stat().st_size > 10_000


def test_pictures_of_one_number_of_samples_and_of_no_layer():
    one = shifts_of(errors(PLANTED))
    layers, samples = (draw(function, one) for function in STUDY_PICTURES)
    assert isinstance(layers, Drawn) and "one number of target samples" in samples.reason
    none = shifts_of([r for r in errors(PLANTED) if r.role != "layers"])
    assert findings_of(none) == []
    assert "no layer was re-trained alone" in draw(STUDY_PICTURES[0], none).reason


def test_pictures_show_all_that_layers_are_compared_with():
    """Of an adaptation that is added too, by its role, told apart from all others."""
    added = {**PLANTED, "above": 0.22, "tiny": 0.39, "gain": 0.3}
    shifts = shifts_of([r for n in (4, 16) for r in errors(added, samples=n)])
    for function in STUDY_PICTURES:
        (legend,) = function(shifts).figure.legends
        named = {text.get_text() for text in legend.texts}
        assert {"all", "above", "three_scales", "tiny", "gain"} <= named
    drawn = study_figures._lines(shifts)
    assert set(drawn) == {"all", "above", "scratch", "scale", "three_scales", "tiny", "gain"}
    assert len({line[1:] for line in drawn.values()}) == len(drawn)


def test_titles_of_panels_do_not_run_into_each_other():
    others = [(("transfer.normalisation", way), ("training.learning_rate", "0.001"))
              for way in ("dimensional", "target", "snapshot")]  # fmt: skip
    rows = [replace(row, settings=each) for each in others for row in errors(PLANTED)]
    with styled():
        figure = STUDY_PICTURES[0](shifts_of(rows)).figure
        figure.draw_without_rendering()
    titles = [axes._left_title for axes in figure.axes if axes.get_title(loc="left")]
    assert titles[1].get_text().splitlines()[1:] == [
        "normalisation = target", "learning_rate = 0.001"
    ]  # fmt: skip
    boxes = [title.get_window_extent() for title in titles]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
