"""The loops over tensors do what those over arrays do, as they are and as torch compiles them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from eddyscope.filtering.kernels import FILTERS
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.parallel.world import World
from eddyscope.solver.schemes.registry import SCHEMES
from eddyscope.spectral.registry import TRANSFORMS
from examples.eddy_viscosity import EddyViscosity
from examples.heun import Heun
from layered_flow import make_pair
from small_flows import advance, make_flow, make_transform_on, state_of

N = 22
MEMBERS = 3

ROUNDING = {"float64": 1e-13, "float32": 2e-5}
"""Precision -> what steps may leave of a difference, relative to the largest coefficient."""

FLOWS = {
    "decaying": {},
    "waves": {"beta": 4.0, "drag": 0.1},
    "deterministic": {"forcing": {"kind": "deterministic", "wavenumber": 3}},
    "ring": {"beta": 1.0, "forcing": {"kind": "ring", "wavenumber": 4.0, "energy_input": 0.1}},
    "all rates": {
        "hyperviscosity": {"order": 2, "coefficient": 1e-4},
        "friction": {"coefficient": 0.1},
    },
}


@pytest.fixture(params=["as they are", "all at once", "as real numbers"])
def loops(request, monkeypatch):
    """As on a CPU; all members and layers at once, as on a GPU; and so as they are compiled there,
    followed by torch but not made into machine code."""
    backend = "eddyscope.spectral.backends.torch"
    if request.param != "as they are":
        monkeypatch.setattr(f"{backend}._one_by_one", lambda device: False)
    if request.param == "as real numbers":
        monkeypatch.setattr(f"{backend}._compiles", lambda settings, device: True)
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    return request.param


@pytest.mark.parametrize("precision", list(ROUNDING))
@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("flow", list(FLOWS))
def test_steps_are_those_of_the_default(loops, flow, scheme, precision):
    found = {}
    for kind in ("fftw", "torch"):
        transform = make_transform_on(World.single(), N, MEMBERS, precision=precision, kind=kind)
        made = make_flow(transform, **FLOWS[flow])
        state = advance(made, scheme, state_of(transform), 0.01, 4)
        found[kind] = transform.to_host(state), made.max_velocity(), made.kick_work
        if made.kick_work is not None:
            found[kind] = *found[kind][:2], transform.to_host(made.kick_work)
    for ours, theirs in zip(found["torch"], found["fftw"], strict=True):
        if theirs is None:
            assert ours is None
            continue
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        scale = np.abs(theirs).max()
        assert scale > 0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING[precision] * scale)


def test_layers_of_a_flow_are_kept_apart(loops):
    """Two layers that know nothing of each other, each as it is alone."""
    settings = {"beta": 2.0, "forcing": {"kind": "ring", "wavenumber": 4.0, "energy_input": 0.1}}
    one, two = make_pair(World.single(), settings, N, MEMBERS, kind="torch")
    states = [
        flow.transform.to_host(advance(flow, "ifrk3", state_of(flow.transform), 0.01, 4))
        for flow in (one, two)
    ]
    for layer in range(2):
        np.testing.assert_allclose(states[1][:, layer], states[0][:, 0], rtol=0, atol=1e-13)
    assert two.max_velocity().shape == (MEMBERS,)


def test_a_state_that_is_not_finite_is_seen(loops):
    transform = make_transform_on(World.single(), N, MEMBERS, kind="torch")
    flow, state = make_flow(transform), state_of(transform)
    assert transform.loops.all_finite(state)
    state[1, 0, 2, 3] = float("nan")
    assert not transform.loops.all_finite(state)
    flow.advection(state, transform.zeros_spectral())
    fastest = flow.max_velocity()
    assert np.isfinite(fastest[[0, 2]]).all() and not np.isfinite(fastest[1])


def test_the_fused_advection_is_the_plain_one(loops, monkeypatch):
    transform = make_transform_on(World.single(), N, MEMBERS, kind="torch")
    flow, state = make_flow(transform), state_of(transform)
    fused = transform.to_host(flow.advection(state, transform.zeros_spectral())).copy()
    fastest = flow.max_velocity()
    monkeypatch.setattr(type(transform), "fused", None)
    plain = transform.to_host(flow.advection(state, transform.zeros_spectral()))
    assert not np.array_equal(fused, plain), "another order of the same sums"
    np.testing.assert_allclose(fused, plain, rtol=0, atol=1e-13 * np.abs(plain).max())
    np.testing.assert_allclose(fastest, flow.max_velocity(), rtol=1e-13)


def test_filtered_fields_are_those_of_the_default(loops):
    """Of several members, which a coarse grid takes at once where loops do."""
    found = {}
    for kind in ("fftw", "torch"):
        transform = make_transform_on(World.single(), N, MEMBERS, kind=kind)
        flow, state = make_flow(transform), state_of(transform)
        subgrid = Subgrid(flow, FILTERS.settings("box", n=[8, 14]), TRANSFORMS.settings(kind))
        found[kind] = subgrid.sample(state, flow.advection(state, transform.zeros_spectral()))
    for n, members in found["fftw"].items():
        assert list(found["torch"][n]) == list(members) == list(range(MEMBERS))
        for member, fields in members.items():
            for name, field in fields.items():
                ours = found["torch"][n][member][name]
                assert ours.shape == field.shape == (1, n, n)
                np.testing.assert_allclose(ours, field, rtol=0, atol=1e-13 * np.abs(field).max())


def test_what_users_add_serves_tensors_too():
    """The scheme and the closure among the examples: operators and indices, nothing of numpy."""
    found = {}
    for kind in ("fftw", "torch"):
        transform = make_transform_on(World.single(), N, MEMBERS, kind=kind)
        flow, state = make_flow(transform, beta=2.0), state_of(transform)
        closure = EddyViscosity(EddyViscosity.Settings(), None).on(flow, 0.5)
        stepper = Heun(Heun.Settings(), flow, 0.01)
        for step in range(3):
            stepper.step(state, 0.01 * step, step, closure.pi_hat)
        found[kind] = transform.to_host(state)
    scale = np.abs(found["fftw"]).max()
    np.testing.assert_allclose(found["torch"], found["fftw"], rtol=0, atol=1e-13 * scale)


def test_a_plan_says_what_compiling_on_a_cpu_takes():
    settings = TRANSFORMS.settings("torch", device="cpu", compile=True)
    assert "most of a minute of a core in each process" in settings.remark
    assert not settings.model_copy(update={"compile": "auto"}).remark
