"""A member split into pencils takes no more memory than a whole one."""

from __future__ import annotations

import numpy as np
import pytest

from array_bytes import array_bytes
from eddyscope.filtering.kernels import FILTERS
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schemes.registry import SCHEMES
from small_flows import FFTW, make_flow, make_scheme, make_transform_on, state_of

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_all_pencils_of_a_member_hold_at_most_fourteen_fields_of_the_product_grid(world, scheme):
    """Its parts add up; blocks of rows in work and the coarse grid come once a rank."""
    transform = make_transform_on(world, 256, mesh=(1, world.size))
    flow = make_flow(transform)
    stepper, diagnostics = make_scheme(scheme, flow, 0.01), Diagnostics(flow)
    coarse = Subgrid(flow, FILTERS.settings("gaussian", n=[32]), FFTW)
    mine = array_bytes(flow, stepper, diagnostics, coarse, state_of(transform))
    fields = world.comm.allreduce(mine) / (8 * 384**2)
    assert 5 < fields <= 14
    parts = world.comm.allgather(int(np.prod(transform.spectral_shape)))
    assert sum(parts) == 128 * 256, "the field is split, not repeated"
