"""Measured plans that are kept give the same bits again, on the same ranks."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.config.errors import CaseError
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.registry import TRANSFORMS

pytestmark = pytest.mark.mpi


def measured(world, folder, precision="float64"):
    grid = Grid(66, precision=precision)
    mesh = world.mesh(1, grid.n // 2)
    settings = TRANSFORMS.settings("fftw", planner="measure")
    return TRANSFORMS.build(settings, grid, mesh, 1, folder)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_second_transform_gives_the_same_bits(world, shared_tmp_path, precision):
    first = measured(world, shared_tmp_path, precision)
    second = measured(world, shared_tmp_path, precision)
    random = np.random.default_rng(world.rank)
    field = random.standard_normal(first.physical_shape).astype(precision)
    found = [t.to_modes(field) for t in (first, second)]
    assert found[0].tobytes() == found[1].tobytes()
    assert len(list(shared_tmp_path.glob(f"{precision}-n66-*.fftw"))) == world.size


def test_damaged_wisdom_is_refused_by_all(world, shared_tmp_path):
    measured(world, shared_tmp_path)
    world.comm.Barrier()
    if world.is_root:
        next(shared_tmp_path.glob("*rank0.fftw")).write_text("not wisdom")
    world.comm.Barrier()
    with pytest.raises(CaseError, match="FFTW wisdom"):
        measured(world, shared_tmp_path)
