"""What looks at networks does so on the device that a rank has, and finds there what a CPU finds.

The device is pretended (`pretended_device.py`): where tensors lie is tried, not a GPU's kernels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import synthetic
import synthetic_models
from eddyscope.artefacts.advice import read_advice_details
from eddyscope.artefacts.analysis import read_analysis
from eddyscope.artefacts.evaluation import read_details
from eddyscope.networks.base import LayeredModel
from eddyscope.parallel.world import World
from eddyscope.stages.advise import STAGE as advise
from eddyscope.stages.analyze import STAGE as analyze
from eddyscope.stages.evaluate import STAGE as evaluate
from eddyscope.stages.job import Job
from pretended_device import DEVICE, PretendedDevice

STAGES = {"advise": advise, "analyze": analyze, "evaluate": evaluate}
HOMES = ("advisor.advice", "analysis.activation_spectra", "learning.evaluation")


def read(stage: str, out: Path) -> dict[str, np.ndarray]:
    """The numbers that a stage has found."""
    reading = {"advise": read_advice_details, "analyze": read_analysis, "evaluate": read_details}
    path = out / {"advise": "advice.h5", "analyze": "analysis.h5"}.get(stage, "evaluation.h5")
    groups = reading[stage](path).subtree
    names = ((group, name) for group in groups for name in group.data_vars if name != "seconds")
    return {f"{group.path}/{name}": group[name].values for group, name in names}


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_computes_on_the_ranks_device(stage, tmp_path, monkeypatch):
    case = synthetic.make_case(tmp_path)
    synthetic.write_datasets(case, tmp_path, World.single())
    synthetic_models.write_models(case, tmp_path)
    job = Job(case=case, world=World.single(), out=tmp_path, fresh=True)
    STAGES[stage].run(job)
    expected = read(stage, tmp_path)
    for home in HOMES:
        monkeypatch.setattr(f"eddyscope.{home}.pick_device", lambda comm: DEVICE)
    seen, call = set(), LayeredModel.__call__

    def watched(self, x):
        seen.add(x.device.type)
        return call(self, x)

    monkeypatch.setattr(LayeredModel, "__call__", watched)
    with PretendedDevice():
        STAGES[stage].run(job)
    assert seen == {DEVICE.type}, "computed elsewhere"
    found = read(stage, tmp_path)
    assert found.keys() == expected.keys() and len(found) > 2
    for name, values in expected.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)
