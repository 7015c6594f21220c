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


def meshes(kind, size, n):
    """The meshes that suit so many ranks; none where they would have to share fields and cannot."""
    fits = [(m, size // m) for m in range(1, MEMBERS + 1) if size % m == 0 and size // m <= n // 2]
    return [mesh for mesh in fits if mesh[1] == 1 or TRANSFORMS[kind].has_pencils]


def close(found, expected, precision):
    """To rounding, relative to the largest."""
    assert found.dtype == expected.dtype
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=20 * ROUNDING[precision] * scale)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("n", SIZES)
def test_shapes_and_blocks_share_out_the_whole_field(world, kind, n, layers):
    for mesh in meshes(kind, world.size, n):
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
    for mesh in meshes(kind, world.size, n):
        transform = make_transform_on(world, n, MEMBERS, mesh, precision, kind=kind)
        state = state_of(transform)
        kept = np.array(transform.to_host(state))
        on_points = transform.to_points(state)
        np.testing.assert_array_equal(transform.to_host(state), kept)
        found = transform.to_host(on_points)
        assert found.shape == transform.physical_shape
        heights = transform.mesh.pencil_comm.allgather(found.shape[2])
        first = sum(heights[: transform.mesh.pencil_comm.rank])
        here = slice(first, first + found.shape[2])
        close(found, points[transform.mesh.members, :, here], precision)
        again = transform.to_host(transform.to_modes(on_points * on_points))
        assert not again[..., n // 2].any()
        close(again, modes[transform.spectral_block], precision)
        close(transform.to_host(transform.to_modes(on_points)), kept, precision)


@pytest.mark.parametrize("n", SIZES)
def test_any_leading_axes_are_fields(world, kind, n):
    together = world if TRANSFORMS[kind].has_pencils else World.single()
    transform = make_transform_on(together, n, mesh=(1, together.size), kind=kind)
    fields = [transform.take(random_coefficients(n, member)) for member in (0, 1)]
    both = transform.to_points(transform.loops.stack(fields)[None])
    modes = transform.to_modes(both)
    assert tuple(both.shape) == (1, 2, *transform.physical_shape[2:])
    pairs = [
        (both[0, 1], transform.to_points(fields[1])),
        (modes[0, 0], transform.to_modes(both[0, 0])),
    ]
    for found, expected in pairs:
        close(transform.to_host(found), transform.to_host(expected), "float64")


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("coarse", [4, 8])
@pytest.mark.parametrize("n", SIZES)
def test_gather_gives_back_what_take_took(world, kind, n, coarse, layers):
    for mesh in meshes(kind, world.size, n):
        transform = make_transform_on(world, n, MEMBERS, mesh, kind=kind, layers=layers)
        state = state_of(transform)
        for layer in range(layers):
            state[:, layer] *= layer + 1.0
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
    for mesh in [None, *meshes(kind, world.size, n)]:
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
        coarse = TRANSFORMS.settings("fftw" if mesh is None else kind)
        sample = Subgrid(flow, settings, coarse).sample(state, advection)[6]
        results.append((transform, transform.to_host(state), found, sample))
    _, expected, values, fields = results[0]
    for transform, state, found, sample in results[1:]:
        close(state, expected[transform.spectral_block], precision)
        for name, numbers in found.items():
            close(numbers, values[name][transform.mesh.members], precision)
        for member, of_member in sample.items():
            for name, field in of_member.items():
                close(field, fields[member][name], precision)


@pytest.mark.parametrize("n", SIZES)
def test_own_points_are_those_of_the_modes_kept(world, kind, n, precision):
    """And back, without a mean; of whole members, on each rank alone."""
    transform = make_transform_on(World.single(), n, MEMBERS, precision=precision, kind=kind)
    state = state_of(transform)
    whole = np.stack([random_coefficients(n, member) for member in range(MEMBERS)])
    expected = np.fft.irfft2(whole, s=(n, n), norm="forward")[:, None]
    found = transform.to_own_points(state)
    close(transform.to_host(found), expected.astype(precision), precision)
    again = transform.to_host(transform.from_own_points(found + 1.0))
    close(again.astype(transform.grid.complex), transform.to_host(state), precision)
    assert not again[..., 0, 0].any() and not again[..., n // 2].any()


def test_arrays_come_from_the_host_and_go_back(world, kind, rng):
    transform = make_transform_on(World.single(), 8, MEMBERS, kind=kind)
    for array in (rng.random(3), rng.random((2, 3)).T + 1j, np.arange(4), np.float32([2.0])):
        found = transform.to_host(transform.from_host(array))
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.mpi(min_size=2)
def test_ranks_that_would_share_fields_are_refused_where_they_cannot(world, kind):
    settings = TRANSFORMS.settings(kind)
    if TRANSFORMS[kind].has_pencils:
        assert settings.mesh_shape(world.size, 1, 8) == (1, world.size)
        return
    shared = TRANSFORMS.settings(kind, mesh=[1, world.size])
    for refused in (
        lambda: settings.mesh_shape(world.size, world.size - 1, 64),
        lambda: shared.mesh_shape(world.size, 2 * world.size, 64),
        lambda: make_transform_on(world, 64, 8, (1, world.size), kind=kind),
    ):
        with pytest.raises(CaseError, match="no y-pencils") as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert settings.mesh_shape(world.size, world.size, 64) == (world.size, 1)


def test_more_ranks_than_rows_are_refused_in_one_line(world, kind):
    if world.size < 3:
        pytest.skip("two rows share out among one or two ranks")
    with pytest.raises(CaseError, match="at most") as caught:
        make_transform_on(world, 4, 1, kind=kind)
    assert "\n" not in str(caught.value)
