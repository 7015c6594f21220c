"""Samples turned, mirrored and with noise are samples of the same flow, and belong to no rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eddyscope.artefacts.dataset.derived import derive
from eddyscope.config.errors import CaseError
from eddyscope.filtering.kernels import FILTERS
from eddyscope.filtering.subgrid import Subgrid
from eddyscope.learning.augment import mirrored, noisy
from eddyscope.learning.recipe import Parities
from eddyscope.networks.settings import Channels
from eddyscope.parallel.world import World
from eddyscope.spectral.registry import TRANSFORMS
from small_flows import from_points, make_flow, make_transform_on, state_of, to_points

N, COARSE = 32, 16


def sampled(omega_hat: np.ndarray | None, omega: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """psi, omega, pi and strain of a flow on the coarse grid, as the program filters them."""
    transform = make_transform_on(World.single(), N)
    flow = make_flow(transform)
    if omega is not None:
        omega_hat = from_points(transform, omega)
    advection = flow.advection(omega_hat, transform.zeros_spectral())
    filters = FILTERS.settings("gaussian", n=[COARSE])
    sample = Subgrid(flow, filters, TRANSFORMS.settings("fftw")).sample(omega_hat, advection)
    fields = dict(sample[COARSE][0])
    length = 2.0 * np.pi
    return {**fields, "strain": derive("strain", fields["psi"], (length, length))}


def velocity_mirrored(omega: np.ndarray) -> np.ndarray:
    """The vorticity of the flow mirrored in y = 0, by its velocity: (u, v)(x, y) becomes
    (u, −v)(x, −y)."""
    k = np.fft.fftfreq(N, 1.0 / N)
    kx, ky = k[None, :], k[:, None]
    k2 = np.where(kx**2 + ky**2 > 0, kx**2 + ky**2, 1.0)
    psi = np.fft.fft2(omega) / k2
    u, v = np.fft.ifft2(1j * ky * psi).real, np.fft.ifft2(-1j * kx * psi).real

    def at_minus_y(field: np.ndarray) -> np.ndarray:
        return np.roll(field[::-1], 1, axis=0)

    u, v = at_minus_y(u), -at_minus_y(v)
    return np.fft.ifft2(1j * kx * np.fft.fft2(v) - 1j * ky * np.fft.fft2(u)).real


def test_a_mirrored_flow_has_the_mirrored_fields():
    """By the program's own filter and subgrid term, of the mirrored velocity."""
    transform = make_transform_on(World.single(), N)
    omega = np.array(to_points(transform, state_of(transform, peak=4.0))).reshape(N, N)
    fields = sampled(None, omega.reshape(1, 1, N, N))
    expected = sampled(None, velocity_mirrored(omega).reshape(1, 1, N, N))
    channels = Channels(("psi", "omega", "strain"), ("pi",))
    signs = Parities.of(channels)
    assert signs == Parities((-1, -1, 1), (-1,))
    for name, sign in zip(channels.names, (*signs.inputs, *signs.outputs), strict=True):
        x = torch.from_numpy(fields[name].reshape(1, 1, COARSE, COARSE).copy())
        ours = mirrored(x, np.array([True]), [sign]).numpy()[0, 0]
        # y_i = iΔ becomes −y_i, which lies one point further than the last of a plain flip.
        ours = np.roll(ours, 1, axis=0)
        theirs = expected[name].reshape(COARSE, COARSE)
        scale = np.abs(theirs).max()
        assert np.abs(ours - theirs).max() < 1e-12 * scale, name
        assert np.abs(ours + theirs).max() > 0.1 * scale, "the sign is not seen"


def test_only_the_chosen_are_mirrored():
    x = torch.randn(3, 2, 4, 4)
    found = mirrored(x, np.array([False, True, False]), [1, -1])
    assert torch.equal(found[0], x[0]) and torch.equal(found[2], x[2])
    assert torch.equal(found[1, 0], x[1, 0].flip(0)) and torch.equal(found[1, 1], -x[1, 1].flip(0))


@pytest.mark.parametrize("field", ["u", "v_2", "salt"])
def test_fields_of_unknown_sign_are_refused(field: str):
    with pytest.raises(CaseError, match=r"training\.reflections = true, but it is not known"):
        Parities.of(Channels(("psi", field), ("pi",)))


def test_noise_belongs_to_the_sample_and_the_epoch():
    x = torch.zeros(4, 2, 32, 32)
    whole = noisy(x, 0.1, (1, 2), np.array([3, 0, 2, 1]))
    part = noisy(x[:2], 0.1, (1, 2), np.array([2, 1]))
    assert torch.equal(part, whole[2:])
    assert not torch.equal(noisy(x, 0.1, (1, 3), np.array([3, 0, 2, 1])), whole)
    assert float(whole.std()) == pytest.approx(0.1, rel=0.05)
    assert torch.equal(noisy(x, 0.0, (1, 2), np.arange(4)), x)
