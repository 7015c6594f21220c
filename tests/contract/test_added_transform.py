"""A transform is added by one new file (examples/numpy_fft.py) and one line of the registry."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from eddyscope.artefacts.dataset.reader import Dataset
from small_flows import write_case

TESTS = Path(__file__).resolve().parents[1]

LINE = """
from eddyscope.spectral.registry import TRANSFORMS
from examples.numpy_fft import NumpyFft
TRANSFORMS.entries["numpy"] = NumpyFft
"""
"""The line, as it would stand in the registry's table."""

PROGRAM = LINE + "from eddyscope.__main__ import main\nmain()\n"

LIMIT = 120.0
"""Seconds for one job."""


@pytest.fixture(autouse=True)
def examples_are_found(monkeypatch):
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def test_it_works_through_a_case(launch, tmp_path):
    """Planned and run on two ranks that share a field: the same numbers as the default's."""
    fields = {}
    for kind in ("numpy", "fftw", "mpi4py_fft"):
        out = tmp_path / kind
        arguments = ["dns", str(write_case(tmp_path)), "--system", "base", "--out", str(out)]
        arguments += [f"transform.kind={kind}", "transform.mesh=[1,2]"]
        for more in (["--dry-run"], []):
            ended = launch(2, [sys.executable, "-c", PROGRAM, *arguments, *more], LIMIT)
            assert ended.returncode == 0, ended.stderr
        dataset = Dataset(out / "base" / "dataset.h5")
        assert json.loads(dataset.attributes["case"])["transform"]["kind"] == kind
        fields[kind] = dataset.read(8, "omega").astype(float)
    for kind in ("numpy", "mpi4py_fft"):
        np.testing.assert_allclose(fields[kind], fields["fftw"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("ranks", [1, 3])
def test_contract_tests_pick_it_up(launch, tmp_path, monkeypatch, ranks):
    (tmp_path / "added.py").write_text(LINE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    tests = [str(TESTS / "contract" / "test_transforms.py"), "-k", "numpy", "-m", "mpi"]
    quiet = ["-p", "added", "-p", "no:cacheprovider", "-q", "--color=no", "--only-mpi"]
    ended = launch(ranks, [sys.executable, "-m", "pytest", *quiet, *tests], LIMIT)
    assert ended.returncode == 0, ended.stdout
    assert "numpy" not in ended.stderr and " passed" in ended.stdout
