"""A network (examples/dense.py) and an adaptation with a parameter (examples/last.py) are each
added by one new file and one line of a registry."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

LINES = """
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.networks.registry import NETWORKS
from examples.dense import Dense
from examples.last import Last
NETWORKS.entries["dense"] = Dense
ADAPTATIONS.entries["last"] = Last
"""
"""The lines, as they would stand in the registries' tables."""

PROGRAM = (
    LINES
    + """
import sys
from pathlib import Path
from eddyscope.artefacts.key import ModelKey
from eddyscope.artefacts.model import read_model
from eddyscope.parallel.world import World
from eddyscope.stages.job import Job
from eddyscope.stages.train import STAGE as train
from eddyscope.stages.transfer import STAGE as transfer
from synthetic import make_case, write_datasets

out, world = Path(sys.argv[1]), World.launched()
overrides = [
    "network={kind = 'dense', width = 2}", "training.epochs=1", "transfer.epochs=1",
    "transfer.layers=['l02']", "transfer.controls=['last', {kind = 'last', count = 1}]",
]
case = world.on_root(lambda: make_case(out, *overrides))
write_datasets(case, out, world)
job = Job(case=case, world=world, out=out)
for stage in (train, transfer):
    assert stage.plan(job)
    stage.run(job)
for name, layers in (("last(count=2)", ["l02", "l03"]), ("last(count=1)", ["l03"])):
    record = read_model(job.model(ModelKey.parse(name)), case.network).record
    assert record.network.kind == "dense" and record.retrained == layers, record
"""
)

REPORTED = (
    PROGRAM
    + """
from eddyscope.report import learning_figures, outcome, tables
from eddyscope.report.comparison import compare
from eddyscope.report.results import gather
from eddyscope.stages.evaluate import STAGE as evaluate

evaluate.run(job)
results = gather(out, case.resolved(), case.flows)
lines = [text.get_text() for text in learning_figures.ranking(results).figure.axes[0].texts]
table, said = tables.layer_table(compare(results)), " ".join(outcome.outcome(results))
for words in ("the last 1", "the last 2"):
    assert any(line.startswith(words) for line in lines), lines
    assert any(words in row[0] for row in table.rows), table.rows
    assert words in said, said
rows = results.group("evaluation", "table")
mine = rows.isel(row=rows["adaptation"].values == "last")
assert set(mine["role"].values) == {"control"}
assert set(mine["words"].values) == {"the last 1", "the last 2"}
"""
)
"""The report imports no adaptation: it is told by the artefacts."""

LIMIT = 120.0
"""Seconds for one job."""


@pytest.fixture(autouse=True)
def examples_are_found(monkeypatch):
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def test_they_are_trained_on_ranks(launch, tmp_path):
    ended = launch(2, [sys.executable, "-c", PROGRAM, str(tmp_path)], LIMIT)
    assert ended.returncode == 0, ended.stderr


def test_they_are_trained_and_the_report_shows_them(launch, tmp_path):
    ended = launch(1, [sys.executable, "-c", REPORTED, str(tmp_path)], LIMIT)
    assert ended.returncode == 0, ended.stderr


def test_contract_tests_pick_them_up(launch, tmp_path, monkeypatch):
    (tmp_path / "added.py").write_text(LINES)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    names = ("test_networks.py", "test_learning_registries.py")
    options = ["-p", "added", "-q", "--color=no", "-p", "no:cacheprovider", "-k", "dense or last"]
    command = [sys.executable, "-m", "pytest", *options]
    ended = launch(1, [*command, *(str(TESTS / "contract" / name) for name in names)], LIMIT)
    assert ended.returncode == 0, ended.stdout
    assert int(ended.stdout.split(" passed")[0].split()[-1]) >= 15, ended.stdout
