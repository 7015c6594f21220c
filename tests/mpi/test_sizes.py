"""What a plan says of memory and files, as numbers, is what is really held and written."""

from __future__ import annotations

import pytest

from array_bytes import array_bytes
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.solver.checkpoint import Checkpoints, CheckpointSettings
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.stages.ensemble import Ensemble
from eddyscope.stages.job import Job
from small_flows import make_case

pytestmark = pytest.mark.mpi

CASES = {
    "plain": [],
    "single precision": ["grid.precision='float32'"],
    "waves and kicks": [
        "base.flow.beta=1.0",
        "base.flow.forcing={kind='ring', wavenumber=5.0, energy_input=0.5}",
    ],
    "more members": ["base.ensemble.members=5"],
}


@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("name", list(CASES))
def test_numbers_are_those_of_the_objects(world, shared_tmp_path, everywhere, name, scheme):
    overrides = [*CASES[name], f"time.scheme='{scheme}'", "grid.n=96", "filter.n=[32, 48]"]
    case = world.on_root(lambda: make_case(shared_tmp_path, *overrides))
    run = Ensemble.of(Job(case, world, shared_tmp_path / "out"), "base")
    transform = run.setup.make_transform(world)
    simulation = run.setup.simulation(transform)
    diagnostics = Diagnostics(simulation.flow)
    subgrid = Subgrid(simulation.flow, case.filter, case.transform)
    solver = max(world.comm.allgather(array_bytes(simulation, diagnostics)))
    coarse = array_bytes(simulation, diagnostics, subgrid) - array_bytes(simulation, diagnostics)
    everywhere(run.sizes.solver == pytest.approx(solver, rel=0.03), f"{run.sizes.solver}, {solver}")
    everywhere(run.sizes.coarse == pytest.approx(coarse, rel=0.03), f"{run.sizes.coarse}, {coarse}")
    most = max(world.comm.allgather(len(transform.owned)))
    everywhere(run.sizes.owned == most, "members owned")
    checkpoints = Checkpoints(shared_tmp_path / name, CheckpointSettings(), "a" * 64, transform)
    checkpoints.save(simulation.clock.as_dict(), simulation.state)
    written = (shared_tmp_path / name / "step-0000000000.h5").stat().st_size
    everywhere(run.sizes.checkpoint == written, f"{run.sizes.checkpoint}, {written}")
