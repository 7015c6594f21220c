"""The cases of configs/studies and configs/paper can be planned, and are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from eddyscope.__main__ import dispatch
from eddyscope.config.case import read_files
from eddyscope.networks.costs import layer_parameters, total_parameters
from eddyscope.parallel.failure import guard
from eddyscope.parallel.world import World
from eddyscope.stages.case import load_case
from eddyscope.stages.cells import plan_of
from eddyscope.study.axes import read_study
from eddyscope.study.plan import Plan

CONFIGS = Path(__file__).parents[2] / "configs"

PAPER = sorted((CONFIGS / "paper").glob("*.toml"))
PAPER_CASES = [path for path in PAPER if path.stem != "pgad015"]


def plan(name: str) -> Plan:
    path = CONFIGS / f"{name}.toml"
    return plan_of(read_study(path), path, World.single())


def test_the_shifts_share_nine_flows():
    found = plan("studies/shifts")
    assert len(found.cases) == 10
    assert (len(found.systems), len(found.trainings), len(found.cells)) == (9, 25, 150)


STUDIES = sorted(path for path in (CONFIGS / "studies").glob("*.toml") if path.stem != "shifts")


def test_every_case_of_a_study_has_five_test_members():
    """Of what conclusions are drawn from; and floors, of what one layer adds to."""
    for case in map(load_case, [*STUDIES, *PAPER_CASES]):
        assert len(case.test_members("target")) >= 5, case.name
    for case in map(load_case, STUDIES):
        assert {"scale", "three_scales", "all"} <= {key.kind for key in case.transfer_models}


def test_every_case_of_the_shifts_has_samples_for_all_its_cells():
    found = plan("studies/shifts")
    for name in found.cases:
        case = load_case(CONFIGS / "studies" / f"{name}.toml")
        assert case.training_samples("target") == 16
        assert case.system("target").ensemble.count("train") >= 64


def test_the_amplitude_is_all_that_changes_in_the_control():
    """Under t -> t/2 the equation of the base is that of the target."""
    case = load_case(CONFIGS / "studies" / "amplitude.toml")
    base, target = (case.system(name) for name in ("base", "target"))
    assert target.flow.forcing.amplitude == 4 * base.flow.forcing.wavenumber
    assert base.flow.forcing.amplitude is None, "which is the wavenumber"
    assert (target.flow.drag, target.flow.reynolds) == (2 * base.flow.drag, base.flow.reynolds / 2)
    for time in ("spin_up", "interval"):
        assert getattr(target.ensemble, time) == getattr(base.ensemble, time) / 2


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_papers_cases_can_be_planned(path, tmp_path, capfd):
    """Of the largest, with fewer samples: a plan is refused where the disk is too small."""
    study = any("cases" in tree for _, tree in read_files(path))
    fewer = ["base.ensemble.samples=143"] if path.stem == "jcp2022" else []
    words = ["study", str(path)] if study else ["run", str(path), *fewer]
    status = guard(lambda: dispatch([*words, "--dry-run", "--out", str(tmp_path / "out")]))
    assert status == 0, capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_papers_network_and_amounts():
    """What Subel et al. publish: 927,041 parameters, 2000 samples and 200, a tenth for transfer,
    one rate for all, the target's own statistics, and in their LES those of the snapshot."""
    for name in ("decaying_forced", "kf25_kf4", "re1e3_re1e5"):
        case = load_case(CONFIGS / "paper" / f"pgad015_{name}.toml")
        network = (case.network, case.channels, case.network_grid)
        assert total_parameters(*network) == 927_041
        assert list(layer_parameters(*network).values()) == [3264, *[102_464] * 9, 1601]
        base = case.system("base").ensemble
        assert (base.count("train"), base.count("validation")) == (2000, 200)
        assert case.training_samples("target") == 200
        assert (case.training.learning_rate, case.training.batch_size) == (5e-5, 16)
        assert (case.training.epochs, case.transfer.epochs) == (100, 50)
        assert (case.network.padding, case.transfer.normalisation) == ("zeros", "target")
        assert (case.transfer.recipes, case.transfer.learning_rate) == (["matched"], 5e-5)
        learned = [c.normalisation for c in case.les.closures if c.kind == "learned"]
        assert learned == ["snapshot", "snapshot"]
