"""A closure with a parameter is added by one new file (examples/eddy_viscosity.py), one line of
the registry and a configuration."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.les import read_les
from eddyscope.parallel.world import World
from in_turn import Ended, in_turn
from synthetic import make_case, write_case, write_datasets

TESTS = Path(__file__).resolve().parents[1]

LINE = """
from eddyscope.closures.registry import CLOSURES
from examples.eddy_viscosity import EddyViscosity
CLOSURES.entries["eddy_viscosity"] = EddyViscosity  # the line, as in the registry's table
"""

LIMIT = 120.0
"""Seconds for one job."""


@pytest.fixture
def les(launch, tmp_path, monkeypatch):
    """`les(words, …)` calls the stage with the closure registered, once for each list of words,
    in one job on two ranks."""
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    case = str(write_case(tmp_path))

    def call(*given: list[str]) -> list[Ended]:
        calls = [["les", case, "--out", str(tmp_path), *words] for words in given]
        return in_turn(launch, 2, calls, LIMIT, LINE)

    return call


def test_it_runs_through_the_stage(les, tmp_path):
    write_datasets(make_case(tmp_path), tmp_path, World.single())
    closures = (
        'les.closures=["none", "eddy_viscosity", {kind = "eddy_viscosity", coefficient = 0.4}]'
    )
    words = [closures, "les.duration=0.5", "les.interval=0.1"]
    planned, ended = les([*words, "--dry-run"], words)
    assert planned.returncode == 0, planned.stderr
    assert "closures: none, eddy_viscosity, eddy_viscosity(coefficient=0.4)" in planned.stdout
    assert ended.returncode == 0, ended.stderr
    names = ("none", "eddy_viscosity", "eddy_viscosity(coefficient=0.4)")
    runs = [read_les(tmp_path / "les" / f"{name}.h5") for name in names]
    assert [run.attrs["closure"] for run in runs] == list(names)
    ends = [run["enstrophy"].values[:, -1] for run in runs]
    assert np.all(ends[0] > ends[1]) and np.all(ends[1] > ends[2]), "it takes enstrophy"
    assert read_les(tmp_path / "les" / "dns.h5")["stable"].values.all()


REFUSED = {
    '["eddy_viscosty"]': "did you mean",
    '[{kind = "eddy_viscosity", coeficient = 1.0}]': "coeficient is not a setting",
    '["none", "none"]': "twice",
    '[{kind = "learned"}]': "model is missing",
    '["dns"]': "cannot name",
    '[{kind = "learned", model = "../l02"}]': "cannot name",
    "[]": "at least 1",
}
"""les.closures -> what is said of it."""


def test_what_is_no_closure_is_refused_with_one_line(les):
    calls = les(*([f"les.closures={closures}"] for closures in REFUSED))
    for (closures, words), ended in zip(REFUSED.items(), calls, strict=True):
        assert ended.returncode == 2, (closures, ended.stderr)
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("eddyscope: ")]
        assert words in line
        assert "Traceback" not in ended.stderr
