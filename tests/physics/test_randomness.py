"""Random numbers of different systems, members, layers and purposes have nothing in common."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.flows.forcing import FORCINGS
from eddyscope.flows.initial import INITIALS
from eddyscope.parallel.world import World
from eddyscope.stages.dns import Dns
from eddyscope.stages.job import Job
from small_flows import make_case, make_transform_on

N = 32
MEMBERS = 3
RING = {"wavenumber": 8.0, "width": 6.0, "energy_input": 0.5}
SYSTEMS = ("base", "target")

RUN = [
    "base.flow.forcing={kind='ring', wavenumber=4.0, width=4.0, energy_input=5.0}",
    "target={flow={kind='navier_stokes', reynolds=100.0, drag=0.1, "
    "forcing={kind='ring', wavenumber=4.0, width=4.0, energy_input=5.0}, "
    "initial={kind='random', peak=3.0, energy=0.5}}, "
    "ensemble={members=2, spin_up=0.02, interval=0.04, samples=3, diagnostics=2}}",
]
"""The same equation as base and as target."""


def kicked(seed):
    """What two steps of a ring's kicks add, a row a member."""
    transform = make_transform_on(World.single(), N, MEMBERS)
    ring = FORCINGS.build(FORCINGS.settings("ring", **RING), transform, seed=seed)
    state = transform.zeros_spectral()
    for step in (0, 1):
        ring.kick(state, step, 0.01)
    return state.reshape(MEMBERS, -1)


def begun(kind, seed):
    """Initial vorticity, each mode of the same size, a row a member."""
    initial = INITIALS.build(INITIALS.settings(kind), seed)
    hats = np.stack([initial.coefficients(N, member) for member in range(MEMBERS)])
    sizes = np.abs(hats)
    return np.divide(hats, sizes, out=np.zeros_like(hats), where=sizes > 0).reshape(MEMBERS, -1)


DRAWN = {
    "kicks": kicked,
    "random": lambda seed: begun("random", seed),
    "mcwilliams": lambda seed: begun("mcwilliams", seed),
}


def correlation(a, b):
    return abs(np.vdot(a, b)) / np.sqrt(np.vdot(a, a).real * np.vdot(b, b).real)


@pytest.mark.parametrize("drawn", list(DRAWN))
def test_members_of_two_systems_correlate_at_chance_level(tmp_path, drawn):
    case = make_case(tmp_path)
    rows = np.concatenate([DRAWN[drawn](case.flow_seed(system)) for system in SYSTEMS])
    modes = np.count_nonzero(rows[0])
    for a, b in combinations(rows, 2):
        assert correlation(a, b) < 4.0 / np.sqrt(modes)


@pytest.mark.parametrize("drawn", list(DRAWN))
def test_members_of_paired_systems_are_the_same(tmp_path, drawn):
    case = make_case(tmp_path, "paired=true")
    base, target = (DRAWN[drawn](case.flow_seed(system)) for system in SYSTEMS)
    np.testing.assert_array_equal(base, target)


def test_kicks_and_initial_phases_of_one_seed_are_independent():
    kicks, phases = kicked(3), begun("random", 3)
    assert not np.isin(np.angle(kicks[kicks != 0]), np.angle(phases)).any()


def test_base_does_not_depend_on_pairing(tmp_path):
    alone, paired = make_case(tmp_path), make_case(tmp_path, "paired=true")
    assert alone.flow_seed("base") == paired.flow_seed("base") == paired.flow_seed("target")
    assert alone.flow_seed("target") != alone.flow_seed("base")


@pytest.mark.parametrize("paired", [False, True])
def test_simulated_systems_are_independent_unless_paired(tmp_path, paired):
    """The same equation twice: other fields, or, paired, the same bits."""
    case = make_case(tmp_path, *RUN, f"paired={str(paired).lower()}")
    job = Job(case, World.single(), tmp_path / "out", systems=SYSTEMS)
    Dns().run(job)
    base, target = (Dataset(job.dataset(s)).read(8, "omega") for s in SYSTEMS)
    if paired:
        np.testing.assert_array_equal(base, target)
        return
    for one, other in zip(base[:, -1], target[:, -1], strict=True):
        assert correlation(one, other) < 0.5  # of some sixty modes, most energy in few
