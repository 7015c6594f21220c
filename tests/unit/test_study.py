"""Studies without running one: axes, what is shared, tables, and the page's numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.study import Mean, Table, means_of, read_table, write_table
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from eddyscope.report.study_page import winners
from eddyscope.report.study_results import comparisons
from eddyscope.stages.cells import plan_of
from eddyscope.study.axes import check_blocks, points_of, read_study
from eddyscope.study.plan import Plan, share_of
from eddyscope.study.tables import mark_complete, tables_of, write_all
from small_study import FORWARD, STUDY, write_study


def plan(folder: Path, study: str = STUDY, **cases: str) -> Plan:
    path = write_study(folder, study, **cases)
    return plan_of(read_study(path), path, World.single())


# --- Axes ----------------------------------------------------------------------------------


def test_the_union_of_products_each_point_once():
    blocks = check_blocks(
        {"axes": [{"training_seeds": [0, 1], "samples": [4, 16]},
                  {"samples": [16, 64], "training_seeds": [0]}]}
    )  # fmt: skip
    names = [point.name for point in points_of(blocks)]
    assert names == [
        "training.seed=0,transfer.samples=4",
        "training.seed=0,transfer.samples=16",
        "training.seed=1,transfer.samples=4",
        "training.seed=1,transfer.samples=16",
        "transfer.samples=64,training.seed=0",
    ]


def test_any_setting_is_an_axis():
    (block,) = check_blocks({"transfer": {"batch_size": [4]}, "network.width": [8]})
    (point,) = points_of([block])
    assert point.overrides == ["transfer.batch_size=4", "network.width=8"]


def test_a_rate_is_a_list_of_one():
    (block,) = check_blocks({"rates": [0.005, [0.01, 0.02]]})
    assert [p.overrides for p in points_of([block])] == [
        ["transfer.rates=[0.005]"],
        ["transfer.rates=[0.01, 0.02]"],
    ]


def test_adaptations_give_layers_and_controls():
    lora = {"kind": "lora", "rank": 2}
    (block,) = check_blocks({"adaptations": [["each", "all"], ["l01", "l01+l02", lora]]})
    first, second = points_of([block])
    assert first.overrides == ['transfer.layers=["each"]', 'transfer.controls=["all"]']
    assert second.overrides == [
        'transfer.layers=["l01", "l01+l02"]',
        'transfer.controls=[{"kind" = "lora", "rank" = 2}]',
    ]
    assert first.name != second.name
    assert all(c.isalnum() or c in "_.+-=," for c in second.name)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"sampels": [1]}, "no axis 'sampels'; did you mean samples?"),
        ({"samples": []}, "samples is empty; give a value"),
        ({"samples": [4, 16, 4]}, "samples has 4 twice"),
        ({"samples": 4}, r"samples = 4 is no list; give \[4\]"),
        ({"axes": 3}, "give tables"),
        ({"axes": [], "samples": [1]}, r"study.samples stands beside study.axes"),
    ],
)
def test_axes_that_are_refused(axes, words):
    with pytest.raises(CaseError, match=words):
        check_blocks(axes)


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ('name = "x"\ncases = []\n', "cases"),
        ('name = "x"\ncases = ["forward.toml", "forward.toml"]\n', "twice"),
        ('name = "x"\ncases = ["forward.toml"]\naxis = 1\n', "did you mean axes"),
        ('name = "x"\ncases = ["none.toml"]\n', "none.toml: no such case file"),
        ('name = "x"\n', r"neither a study nor a case of one"),
        ('name = "x/y"\ncases = ["forward.toml"]\n', "name"),
        (
            'name = "x"\ncases = ["forward.toml"]\n[[axes]]\nsamples = [1, 9]\n',
            r"transfer.samples = 9, but the target ensemble has 4",
        ),
        (
            'name = "x"\ncases = ["forward.toml"]\n[[axes]]\ntransfer.smaples = [1]\n',
            r"study.toml: axes: transfer.smaples.*did you mean samples",
        ),
    ],
)
def test_studies_that_are_refused(tmp_path, study, words):
    with pytest.raises(CaseError, match=words) as caught:
        plan(tmp_path, study)
    assert "\n" not in str(caught.value)


def test_words_of_the_command_line_that_are_refused(tmp_path, capfd):
    path = str(write_study(tmp_path))
    for words, said in {
        ("--only", "forwrad"): "did you mean forward?",
        ("--part", "2/2"): "give --do dns, --do train or --do cells",
        ("--part", "3/2"): "not of the form I/N",
        ("--measure",): "give both",
        ("--do", "all"): "invalid choice",
        ("--resume",): "no study was begun here",
    }.items():
        out = tmp_path / "out"
        line = ["study", path, *words, "--out", str(out)]
        assert guard(lambda line=line: dispatch(line)) == 2
        assert said in capfd.readouterr().err
        assert not out.exists()


# --- What is shared ------------------------------------------------------------------------


def test_a_case_and_its_reverse_share_both_flows(tmp_path):
    found = plan(tmp_path)
    assert (len(found.systems), len(found.trainings), len(found.cells)) == (2, 4, 6)
    forward, reverse = (next(c for c in found.cells if c.name == n) for n in found.cases)
    assert forward.systems["base"].id == reverse.systems["target"].id
    assert forward.systems["target"].id == reverse.systems["base"].id
    seeds = {system.settings["seed"] for system in found.systems}
    assert len(seeds) == 2, "two flows would draw the same random numbers"
    assert len({cell.id for cell in found.cells}) == 6


def test_what_decides_a_flow_gives_another(tmp_path):
    more = {
        "filter": '[filter]\nkind = "box"\nn = [8]',
        "own_filter": "[target.filter]\nkind = 'box'\nn = [8]",
        "members": "[target.ensemble]\nmembers = 5\nsplit = {train = 3, validation = 0, test = 2}",
        "seed": "seed = 4",
        "split": "[target.ensemble]\nsplit = {train = 1, validation = 1, test = 2}",
        "learning": "[transfer]\nepochs = 3",
    }
    texts = {n: f'extends = "forward.toml"\nname = "{n}"\n{t}\n' for n, t in more.items()}
    texts["seed"] = 'extends = "forward.toml"\nname = "seed"\nseed = 4\n'
    names = ", ".join(f'"{name}.toml"' for name in ["forward", *texts])
    found = plan(tmp_path, f'name = "x"\ncases = [{names}]\n', **texts)
    first, *others = found.cells
    alike = {
        cell.name: [cell.systems[s].id == first.systems[s].id for s in ("base", "target")]
        + [cell.training.id == first.training.id]
        for cell in others
    }
    assert alike == {
        "filter": [False, False, False],
        "own_filter": [True, False, True],
        "members": [True, False, True],
        "seed": [False, False, False],
        "split": [True, True, True],
        "learning": [True, True, True],
    }
    assert len({cell.id for cell in found.cells}) == 7


def test_a_case_may_have_its_own_axes(tmp_path):
    own = FORWARD.replace('"forward"', '"own"') + "[study]\nsamples = [1, 2, 3]\n"
    study = STUDY.replace('cases = ["forward.toml"', 'cases = ["own.toml"')
    found = plan(tmp_path, study, own=own)
    assert [sum(c.name == name for c in found.cells) for name in ("own", "reverse")] == [3, 3]
    path = tmp_path / "own.toml"
    alone = plan_of(read_study(path), path, World.single())
    assert (alone.name, len(alone.cells)) == ("own", 3)


def test_shares_are_all_of_it_and_even(tmp_path):
    cells = plan(tmp_path).cells
    shares = [share_of(cells, 4, index) for index in range(4)]
    assert sorted(c.id for share in shares for c in share) == sorted(c.id for c in cells)
    assert {len(share) for share in shares} == {1, 2}


def test_every_case_has_its_turn_before_any_has_a_second(tmp_path):
    own = FORWARD.replace('"forward"', '"own"') + "[study]\nsamples = [1, 2, 3]\n"
    study = STUDY.replace('cases = ["forward.toml"', 'cases = ["own.toml", "forward.toml"')
    found = plan(tmp_path, study, own=own)
    turns = found.in_turns
    assert [c.name for c in turns[:6]] == 2 * found.cases
    assert {c.point.name for c in turns[1:3]} == {found.cells[3].point.name}
    assert sorted(c.id for c in turns) == sorted(c.id for c in found.cells)


# --- Tables --------------------------------------------------------------------------------

ROW = ("model", "role", "words", "seed", "normalisation", "system", "metric", "value")


def finished(plan: Plan, out: Path, places: list[int], value: float = 0.5) -> None:
    for place in places:
        cell = plan.cells[place]
        rows = [("l01", "layers", "l01", "", "own", "target", "error", str(value + m))
                for m in (0.0, 0.1)]  # fmt: skip
        write_table(cell.folder(out) / "evaluation.csv", Table(ROW, rows))
        mark_complete(cell, out)


def test_tables_of_other_machines_are_joined(tmp_path):
    found = plan(tmp_path)
    here, there = tmp_path / "here", tmp_path / "there"
    finished(found, here, [0], 0.5)
    finished(found, there, [0, 1, 4], 0.7)
    write_all(found, there, tables_of(found, there))
    (here / "cases").mkdir()
    for name in found.cases:
        (here / "cases" / f"{name}.csv").write_bytes((there / "cases" / f"{name}.csv").read_bytes())
    tables = tables_of(found, here)
    assert [cell.id for cell in tables.missing] == [found.cells[i].id for i in (2, 3, 5)]
    means = write_all(found, here, tables)
    values = {tuple(v for _, v in mean.settings): round(mean.value, 9) for mean in means}
    assert len(means) == 3 and means[0].members == 2
    assert values[("0", "2")] == 0.55, "what is complete here goes before a table from elsewhere"
    whole = read_table(here / "study.csv")
    assert whole.columns == ("case", "cell", "training.seed", "transfer.samples", *ROW)
    assert means_of(whole, found.axes) == means


def test_rows_of_other_settings_are_passed_over(tmp_path):
    found = plan(tmp_path)
    finished(found, tmp_path, [0, 1])
    write_all(found, tmp_path, tables_of(found, tmp_path))
    changed = plan(
        tmp_path, forward=FORWARD.replace("epochs = 2\ncontrols", "epochs = 5\ncontrols")
    )
    tables = tables_of(changed, tmp_path)
    assert not tables.cases["forward"].rows if "forward" in tables.cases else True
    assert "2 cell(s) that are not of this study" in tables.notes[0]


def test_a_changed_evaluation_is_not_complete(tmp_path):
    found = plan(tmp_path)
    finished(found, tmp_path, [0])
    path = found.cells[0].folder(tmp_path) / "evaluation.csv"
    path.write_text(path.read_text().replace("0.5", "0.1"))
    assert len(tables_of(found, tmp_path).missing) == 6


# --- The page ------------------------------------------------------------------------------

ERRORS = {"l01": (0.30, 0.31, 0.40), "l02": (0.32, 0.30, 0.36), "scale": (0.40, 0.40, 0.40),
          "base": (0.5, 0.6, 0.7)}  # fmt: skip


def mean(model: str, seed: int, value: float) -> Mean:
    role = {"l": "layers", "s": "floor", "b": "base"}[model[0]]
    settings = (("training.seed", str(seed)), ("transfer.samples", "16"))
    return Mean("x", settings, model, "", role, model, "own", "target", "error", value, 5)


def test_winners_are_told_with_how_sure_that_is():
    means = [
        mean(m, seed, value) for m, values in ERRORS.items() for seed, value in enumerate(values)
    ]
    (compared,) = comparisons(means)
    assert compared.best(16) == "l01"
    assert compared.wins(16) == (1, 3)
    (row,) = winners([compared]).rows
    assert row[:6] == ("x", "16", "l01", "0.310 (0.300 to 0.400)", "1 of 3", "l02 0.320")
    assert row[8:10] == ("scale 0.400", "23 %")


def test_only_what_is_measured_on_the_target_by_error_counts():
    means = [mean("l01", 0, 0.3), mean("l01", 1, 0.3)]
    others = [
        replace(means[0], system="base", value=9.0),
        replace(means[0], metric="mse", value=8.0),
    ]
    assert comparisons([*means, *others]) == comparisons(means)
