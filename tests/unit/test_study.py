"""Studies without running one: axes, what is shared, tables, and the page's numbers."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from eddyscope.__main__ import dispatch
from eddyscope.artefacts.describe import describe
from eddyscope.artefacts.evaluation import Row
from eddyscope.artefacts.study import Table, read_table, write_table
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import guard
from eddyscope.parallel.progress import duration
from eddyscope.parallel.world import World
from eddyscope.stages import study_cost
from eddyscope.stages.cells import plan_of
from eddyscope.stages.ensemble import Ensemble
from eddyscope.stages.study_tables import write_now_and_then
from eddyscope.storage.lock import holding
from eddyscope.study.axes import check_blocks, points_of, read_study
from eddyscope.study.plan import Plan, share_of
from eddyscope.study.tables import from_elsewhere, mark_complete, tables_of, write_all
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


def test_a_part_without_work_says_so(tmp_path, capfd):
    words = ["--out", str(tmp_path / "out"), "--do", "cells", "--part", "9/9"]
    assert guard(lambda: dispatch(["study", str(write_study(tmp_path)), *words])) == 0
    assert "study: cells: there is nothing for part 9 of 9" in capfd.readouterr().out


def test_a_dry_run_counts_runs_and_hours(tmp_path, monkeypatch):
    """Two layers, each at three rates by two folds before it is trained, of one sample at once;
    four cells of two samples and two of one. Times are those of the parts, and add up."""
    asked: list[str] = []

    def hour(ensemble: Ensemble) -> tuple[float, list[str]]:
        asked.append(ensemble.system)
        return 3600.0, ["  time: an hour", "  warning: too long a step"]

    monkeypatch.setattr(study_cost, "measured", hour)
    found = plan(tmp_path)
    cells = [replace(cell, cost=600.0) for cell in found.cells]
    cells = [replace(cell, training=replace(cell.training, cost=900.0)) for cell in cells]
    known = Plan(found.name, cells, found.axes)
    said = study_cost.described(known, tmp_path / "out", World.single(), measure=True)
    text = "\n".join(said)
    assert f"cells: 6, 18 models in all, by {4 * 2 * (1 + 3 * 2) + 2 * 2} trainings" in text
    assert "dns: 2, on 1 rank(s)" in text and "train: 4" in text
    times = (3600.0, 3600.0, 7200.0, 7200.0, 14400.0)
    base, rest, together, simulated, whole = map(duration, times)
    assert (
        f"time: about {base} for base models and {rest} for cells on one core, {together} on 1 "
        in text
    )
    assert f"{simulated} for simulations, measured on these: {whole} in all" in text
    assert text.count("warning: too long a step") == len(asked) == 2
    unmeasured = study_cost.described(known, tmp_path / "out", World.single(), measure=False)
    assert "simulations not counted" in unmeasured[-1] and len(asked) == 2
    assert not (tmp_path / "out").exists()


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

ROW = tuple(field.name for field in fields(Row))


def finished(plan: Plan, out: Path, places: list[int], value: float = 0.5) -> None:
    for place in places:
        cell = plan.cells[place]
        known = {"model": "l01", "role": "layers", "system": "target", "seed": "0",
                 "training_seed": "0"}  # fmt: skip
        told = [{**known, "metric": metric, "member": str(member), "value": str(value + member)}
                for metric in ("error", "mse") for member in (0, 1)]  # fmt: skip
        rows = [tuple(row.get(name, "") for name in ROW) for row in told]
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
    known = from_elsewhere(found, here)
    assert known == {found.cells[place].id for place in (1, 4)}, "what is here is known from here"
    left = found.without(known)
    assert [cell.id for cell in left.cells] == [found.cells[i].id for i in (0, 2, 3, 5)]
    (found.cells[0].folder(here) / "cell.json").unlink()
    assert from_elsewhere(found, here) == known, "what is half done here is done again"
    mark_complete(found.cells[0], here)
    tables = tables_of(found, here)
    assert [cell.id for cell in tables.missing] == [found.cells[i].id for i in (2, 3, 5)]
    shifts = write_all(found, here, tables)
    values = {(s.case, s.samples): s.models["l01"].error - 0.5 for s in shifts}
    assert values == pytest.approx({("forward", 2): 0.6, ("reverse", 2): 0.7}), (
        "what is complete here goes before a table from elsewhere"
    )
    whole = read_table(here / "study.csv")
    assert whole.columns == ("case", "cell", "training.seed", "transfer.samples", *ROW)
    assert len(read_table(here / "errors.csv").rows) == 6, "two members of each of three cells"
    status = json.loads((here / "status.json").read_text())
    assert (status["complete"], status["missing"]) == (3, 3)
    assert status["cases"] == {"forward": "2 of 3", "reverse": "1 of 3"}
    assert "cells: 3 of 6 complete, 3 missing" in describe(here / "status.json")


def test_tables_of_another_version_are_told_of(tmp_path):
    found = plan(tmp_path)
    finished(found, tmp_path, [0])
    write_all(found, tmp_path, tables_of(found, tmp_path))
    old = read_table(tmp_path / "cases" / "forward.csv")
    place = old.columns.index("converged")
    cut = [(*row[:place], *row[place + 1 :]) for row in old.rows]
    columns = (*old.columns[:place], *old.columns[place + 1 :])
    there = tmp_path / "there"
    write_table(there / "cases" / "forward.csv", Table(columns, cut))
    with pytest.raises(CaseError, match="no column 'converged': they are of another version"):
        write_all(found, there, tables_of(found, there))


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


def test_tables_that_another_program_writes_are_left_to_it(tmp_path, capsys):
    found, out = plan(tmp_path), tmp_path / "out"
    finished(found, out, [0])
    with holding(out / "study.lock", 0.0):
        write_now_and_then(found, out, World.single())
    assert not (out / "study.csv").exists() and not any(capsys.readouterr())
    write_now_and_then(found, out, World.single())
    assert (out / "study.csv").exists()
