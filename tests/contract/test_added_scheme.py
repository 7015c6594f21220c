"""A scheme is added by one new file (examples/heun.py) and one line of the registry."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from eddyscope.artefacts.dataset.reader import Dataset
from in_turn import in_turn
from small_flows import write_case

TESTS = Path(__file__).resolve().parents[1]

LINE = """
from eddyscope.solver.schemes.registry import SCHEMES
from examples.heun import Heun
SCHEMES.entries["heun"] = Heun
"""
"""The line, as it would stand in the registry's table."""

LIMIT = 120.0
"""Seconds for one job."""


@pytest.fixture(autouse=True)
def examples_are_found(monkeypatch):
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def test_it_works_through_a_case(launch, tmp_path):
    """Named plainly, with a setting of its own, and planned; what it may not do is refused."""
    case, out = str(write_case(tmp_path)), tmp_path / "out"
    words = ["dns", case, "--system", "base", "--out", str(out), "time.scheme=heun"]
    elsewhere = ["--out", str(tmp_path / "other"), "base.flow.initial.energy=1e3"]
    calls = [
        [*words, "--dry-run"],
        words,
        [*words, *elsewhere, "--dry-run", "--measure"],
        [*words, "time.scheme={kind='heun',safety=0.4}"],
        ["dns", case, "time={scheme='heun',cfl=0.5}"],
    ]
    planned, ended, warned, changed, refused = in_turn(launch, 2, calls, LIMIT, LINE)
    assert planned.returncode == 0, planned.stderr
    assert ended.returncode == 0, ended.stderr
    dataset = Dataset(out / "base" / "dataset.h5")
    assert dataset.complete
    assert json.loads(dataset.attributes["case"])["time"]["scheme"]["kind"] == "heun"
    assert "the stable step of heun" in warned.stdout
    assert changed.returncode == 2 and "time.scheme" in changed.stderr
    assert refused.returncode == 2
    assert 'cfl needs scheme = "ifrk3": heun is for a fixed dt' in refused.stderr


def test_contract_tests_pick_it_up(launch, tmp_path, monkeypatch):
    (tmp_path / "added.py").write_text(LINE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    tests = [str(TESTS / "contract" / "test_solver_registries.py"), "-k", "heun", "-m", "not mpi"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "added",
        "-q",
        "--color=no",
        "-p",
        "no:cacheprovider",
    ]
    ended = launch(1, [*command, *tests], LIMIT)
    assert ended.returncode == 0, ended.stdout
    assert int(ended.stdout.split(" passed")[0].split()[-1]) >= 4, ended.stdout
