"""A system with a filter of its own."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.errors import CaseError
from eddyscope.filtering.kernels import FILTERS
from eddyscope.parallel.world import World
from eddyscope.stages.case import load_case
from eddyscope.stages.dns import STAGE
from eddyscope.stages.job import Job
from small_flows import CASE, write_case

OWN = (
    CASE
    + """
[target]
flow = {kind = "navier_stokes", reynolds = 100.0, drag = 0.1}
ensemble = {members = 2, spin_up = 0.02, interval = 0.04, samples = 2}
filter = {kind = "box", n = [8], width = 3.0}
"""
)


def test_a_system_is_filtered_by_its_own(tmp_path):
    """The filtered energy of a mode is the filter's response of a sharp one's."""
    found = {}
    for name, extra in {
        "own": [],
        "sharp": ['target.filter={kind = "sharp", n = [8], width = 1.0}'],
    }.items():
        case = load_case(write_case(tmp_path, OWN), extra)
        job = Job(case, World.single(), tmp_path / name)
        STAGE.run(job)
        found[name] = Dataset(job.dataset("target"))
        assert Dataset(job.dataset("base")).filter_width[8] == pytest.approx(2 * 2 * np.pi / 8)
    assert found["own"].filter_width[8] == pytest.approx(3 * 2 * np.pi / 8)
    hats = {n: np.fft.fft2(d.read(8, "psi")[0, 0].reshape(8, 8)) for n, d in found.items()}
    k = np.fft.fftfreq(8, 1 / 8)
    settings = FILTERS.settings("box", n=[8], width=3.0)
    response = FILTERS.build(settings, 8).response(k[None, :], k[:, None])
    low = np.abs(k) < 3
    np.testing.assert_allclose(
        hats["own"][low][:, low], (response * hats["sharp"])[low][:, low], atol=1e-6
    )


def test_it_must_have_the_grid_of_the_network(tmp_path):
    with pytest.raises(
        CaseError, match=r"target.filter.n = \[4\]: must have the network's grid, 8"
    ):
        load_case(write_case(tmp_path, OWN), ["target.filter.n=[4]"])
