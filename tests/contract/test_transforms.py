"""What every transform backend must do, on any ranks; new lines of the registry are picked up."""

from __future__ import annotations

import numpy as np
import pytest

from eddyscope.config.errors import CaseError
from eddyscope.filtering.kernels import FILTERS
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.parallel.world import World
from eddyscope.solver.diagnostics import Diagnostics
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.spectral.registry import TRANSFORMS
from small_flows import advance, make_flow, make_transform_on, random_coefficients, state_of

pytestmark = pytest.mark.mpi

MEMBERS = 3
SIZES = [8, 18, 22, 30]
"""No rank count divides them; with 8 on four ranks one may be left without columns."""
ROUNDING = {"float64": 1e-14, "float32": 1e-5}


@pytest.fixture(params=list(TRANSFORMS))
def kind(request):
    return request.param


@pytest.fixture(params=list(ROUNDING))
def precision(request):
    return request.param


def meshes(size, n):
    return [(m, size // m) for m in range(1, MEMBERS + 1) if size % m == 0 and size // m <= n // 2]


def close(found, expected, precision):
    """To rounding, relative to the largest."""
    assert found.dtype == expected.dtype
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=20 * ROUNDING[precision] * scale)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("n", SIZES)
def test_shapes_and_blocks_share_out_the_whole_field(world, kind, n, layers):
    for mesh in meshes(world.size, n):
        transform = make_transform_on(world, n, MEMBERS, mesh, kind=kind, layers=layers)
        assert transform.spectral_total == (MEMBERS, layers, n // 2, n)
        assert transform.zeros_spectral().shape == transform.spectral_shape
        assert transform.kx.shape[2] == transform.spectral_shape[2]
        whole = np.zeros(transform.spectral_total)
        whole[transform.spectral_block] += 1
        np.testing.assert_array_equal(world.comm.allreduce(whole), 1)
        owned = [m for part in world.comm.allgather(transform.owned) for m in part]
        assert sorted(owned) == list(range(MEMBERS))
        rows = transform.mesh.pencil_comm.allreduce(transform.physical_shape[2])
        assert rows == transform.grid.n_product == transform.physical_shape[3]


@pytest.mark.parametrize("n", SIZES)
def test_points_and_modes_agree_with_one_rank_and_the_default(world, kind, n, precision):
    alone = make_transform_on(World.single(), n, MEMBERS, precision=precision)
    points = alone.to_points(state_of(alone))
    modes = alone.to_modes(points * points)
    for mesh in meshes(world.size, n):
        transform = make_transform_on(world, n, MEMBERS, mesh, precision, kind=kind)
        state = state_of(transform)
        kept = state.copy()
        found = transform.to_points(state)
        np.testing.assert_array_equal(state, kept)
        assert found.shape == transform.physical_shape
        heights = transform.mesh.pencil_comm.allgather(found.shape[2])
        first = sum(heights[: transform.mesh.pencil_comm.rank])
        here = slice(first, first + found.shape[2])
        close(found, points[transform.mesh.members, :, here], precision)
        again = transform.to_modes(found * found)
        assert not again[..., n // 2].any()
        close(again, modes[transform.spectral_block], precision)
        close(transform.to_modes(found), kept, precision)


@pytest.mark.parametrize("n", SIZES)
def test_any_leading_axes_are_fields(world, kind, n):
    transform = make_transform_on(world, n, mesh=(1, world.size), kind=kind)
    one, other = (transform.take(random_coefficients(n, member)) for member in (0, 1))
    both = transform.to_points(np.stack([[one, other]]))
    assert both.shape == (1, 2, *transform.physical_shape[2:])
    np.testing.assert_array_equal(both[0, 1], transform.to_points(other))
    np.testing.assert_array_equal(transform.to_modes(both)[0, 0], transform.to_modes(both[0, 0]))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("coarse", [4, 8])
@pytest.mark.parametrize("n", SIZES)
def test_gather_gives_back_what_take_took(world, kind, n, coarse, layers):
    for mesh in meshes(world.size, n):
        transform = make_transform_on(world, n, MEMBERS, mesh, kind=kind, layers=layers)
        state = state_of(transform) * np.arange(1.0, 1.0 + layers).reshape(1, layers, 1, 1)
        gathered = transform.gather(state, coarse)
        assert list(gathered) == transform.owned
        for member, planes in gathered.items():
            whole, half = random_coefficients(n, member), coarse // 2
            expected = np.zeros((coarse, half + 1), complex)
            rows = np.arange(1 - half, half)
            expected[rows, :half] = whole[rows, :half]
            for layer, plane in enumerate(planes):
                np.testing.assert_array_equal(plane, (layer + 1.0) * expected)


@pytest.mark.parametrize("n", [8, 22])
def test_a_run_agrees_with_the_default_on_one_rank(world, kind, n, precision):
    """Steps, means, spectra and filtered fields."""
    results = []
    alone = make_transform_on(World.single(), n, MEMBERS, precision=precision)
    for mesh in [None, *meshes(world.size, n)]:
        transform = alone
        if mesh is not None:
            transform = make_transform_on(world, n, MEMBERS, mesh, precision, kind=kind)
        flow = make_flow(transform, beta=1.0, forcing={"kind": "deterministic", "wavenumber": 2})
        state = advance(flow, next(iter(SCHEMES)), state_of(transform), 0.01, 3)
        advection = flow.advection(state, transform.zeros_spectral())
        diagnostics = Diagnostics(flow)
        found = {**diagnostics.means(state, 0.0, 0), "fastest": diagnostics.max_velocity()}
        found |= {f"{k} by shell": v for k, v in diagnostics.spectra(state, advection).items()}
        settings = FILTERS.settings("gaussian", n=[6])
        sample = Subgrid(flow, settings, TRANSFORMS.settings(kind)).sample(state, advection)[6]
        results.append((transform, state, found, sample))
    _, expected, values, fields = results[0]
    for transform, state, found, sample in results[1:]:
        close(state, expected[transform.spectral_block], precision)
        for name, numbers in found.items():
            close(numbers, values[name][transform.mesh.members], precision)
        for member, of_member in sample.items():
            for name, field in of_member.items():
                close(field, fields[member][name], precision)


def test_more_ranks_than_rows_are_refused_in_one_line(world, kind):
    if world.size < 3:
        pytest.skip("two rows share out among one or two ranks")
    with pytest.raises(CaseError, match="at most") as caught:
        make_transform_on(world, 4, 1, kind=kind)
    assert "\n" not in str(caught.value)
