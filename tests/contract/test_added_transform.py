"""A transform is added by one new file (examples/numpy_fft.py) and one line of the registry."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.dataset.reader import Dataset
from in_turn import in_turn
from small_flows import write_case

TESTS = Path(__file__).resolve().parents[1]

LINE = """
from eddyscope.spectral.registry import TRANSFORMS
from examples.numpy_fft import NumpyFft
TRANSFORMS.entries["numpy"] = NumpyFft
"""
"""The line, as it would stand in the registry's table."""

LIMIT = 120.0
"""Seconds for one job."""


@pytest.fixture(autouse=True)
def examples_are_found(monkeypatch):
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def test_it_works_through_a_case(launch, tmp_path):
    """Planned and run on two ranks that share a field: the same numbers as the default's."""
    kinds, calls = ("numpy", "fftw", "mpi4py_fft"), []
    for kind in kinds:
        words = [
            "dns",
            str(write_case(tmp_path)),
            "--system",
            "base",
            "--out",
            str(tmp_path / kind),
        ]
        words += [f"transform.kind={kind}", "transform.mesh=[1,2]"]
        calls += [[*words, "--dry-run"], words]
    for ended in in_turn(launch, 2, calls, LIMIT, LINE):
        assert ended.returncode == 0, ended.stderr
    fields = {}
    for kind in kinds:
        dataset = Dataset(tmp_path / kind / "base" / "dataset.h5")
        assert json.loads(dataset.attributes["case"])["transform"]["kind"] == kind
        fields[kind] = dataset.read(8, "omega").astype(float)
    for kind in ("numpy", "mpi4py_fft"):
        np.testing.assert_allclose(fields[kind], fields["fftw"], rtol=0, atol=1e-6)


def test_contract_tests_pick_it_up(launch, tmp_path, monkeypatch):
    (tmp_path / "added.py").write_text(LINE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    tests = [str(TESTS / "contract" / "test_transforms.py"), "-k", "numpy", "-m", "mpi"]
    quiet = ["-p", "added", "-p", "no:cacheprovider", "-q", "--color=no", "--only-mpi"]
    ended = launch(3, [sys.executable, "-m", "pytest", *quiet, *tests], LIMIT)
    assert ended.returncode == 0, ended.stdout
    assert "numpy" not in ended.stderr and " passed" in ended.stdout
