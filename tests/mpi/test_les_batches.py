"""Members of a large-eddy simulation in one batch, as on a GPU, are what they are alone."""

from __future__ import annotations

from functools import partial
from itertools import chain, product

import numpy as np
import pytest

from eddyscope.closures.large_eddy import LargeEddySimulation
from eddyscope.flows.registry import FLOWS
from eddyscope.solver.schedule import FixedSteps
from eddyscope.solver.settings import TimeSettings
from eddyscope.spectral.grid import Grid
from eddyscope.spectral.registry import TRANSFORMS
from examples.eddy_viscosity import EddyViscosity

pytestmark = pytest.mark.mpi

N = 16
MEMBERS = [7, 3, 3, 9, 4]
"""Of an ensemble, in no order, and one of them twice, as pieces of its time are."""
EDGES = np.linspace(-20.0, 20.0, 41)


def simulation(scheme: str, kind: str = "torch") -> LargeEddySimulation:
    """Stirred at random, by streams of each member's own."""
    ring = {"kind": "ring", "wavenumber": 3.0, "energy_input": 0.5}
    settings = FLOWS.settings("navier_stokes", reynolds=100.0, beta=1.0, forcing=ring)
    return LargeEddySimulation(
        make_flow=partial(FLOWS.build, settings, seed=5),
        grid=Grid(N, 1.5),
        transform=TRANSFORMS.settings(kind),
        layers=1,
        filter_width=0.8,
        time=TimeSettings(dt=0.01, scheme=scheme),
        schedule=FixedSteps.of(0, 4, 4, 1, 0.01),
    )


def starts(lost: int | None = None) -> list[np.ndarray]:
    """Vorticity of each member; of one so much that it blows up."""
    fields = np.random.default_rng(3).standard_normal((len(MEMBERS), 1, N, N))
    if lost is not None:
        fields[lost] *= 1e100
    return list(fields)


@pytest.fixture
def together(monkeypatch):
    """As on a GPU: all members at once, on a CPU."""
    backend = "eddyscope.spectral.backends.torch"
    return lambda: monkeypatch.setattr(f"{backend}._one_by_one", lambda device: False)


@pytest.mark.parametrize(("scheme", "lost"), list(product(["ab2cn", "ifrk3"], [None, 2])))
def test_a_batch_is_its_members_alone(world, everywhere, together, scheme, lost):
    models = [EddyViscosity(EddyViscosity.Settings(), None) for _ in range(3)]
    given = world, models, MEMBERS, starts(lost), EDGES
    alone = simulation(scheme).run_all(*given)
    by_default = simulation(scheme, "fftw").run_all(*given)
    together()
    sizes, run = [], LargeEddySimulation.run

    def counted(self, model, members, *rest):
        sizes.append(len(members))
        return run(self, model, members, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LargeEddySimulation, "run", counted)
        batched = simulation(scheme).run_all(*given)
    sizes = [size for of_rank in world.comm.allgather(sizes) for size in of_rank]
    everywhere(sum(sizes) == 3 * len(MEMBERS), f"each once: {sizes}")
    everywhere(len(sizes) == 3 * min(5, {1: 1, 2: 2, 3: 1, 4: 4}[world.size]), f"{sizes}")
    for others in (alone, by_default):
        for ours, theirs in zip(chain(*batched), chain(*others), strict=True):
            everywhere(ours.is_stable == theirs.is_stable, "blew up likewise")
            for name in ("energy", "enstrophy", "energy_spectrum", "omega"):
                one, other = getattr(ours, name), getattr(theirs, name)
                close = one.shape == other.shape and np.allclose(one, other, 1e-10, 1e-12)
                everywhere(bool(close), f"{name}: {one} and {other}")
    stable = [member.is_stable for member in batched[0]]
    everywhere(stable == [i != lost for i in range(len(MEMBERS))], f"{stable}")
    first, second = (batched[0][i].omega for i in (0, 3))
    everywhere(not np.allclose(first, second), "members that differ")


def test_a_member_has_its_own_stream_of_random_numbers(everywhere, together):
    """Of the same start, members differ by their forcing alone, and one given twice does not."""
    together()
    model = EddyViscosity(EddyViscosity.Settings(), None)
    found = simulation("ifrk3").run(model, MEMBERS, [starts()[0]] * len(MEMBERS), EDGES)
    everywhere(bool(np.array_equal(found[1].omega, found[2].omega)), "one twice")
    everywhere(not np.allclose(found[0].omega, found[1].omega, 1e-6), "two")
