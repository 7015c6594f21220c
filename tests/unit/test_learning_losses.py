"""Losses by hand: what they are of known fields, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eddyscope.config.errors import CaseError
from eddyscope.learning.losses import LOSSES, Loss
from eddyscope.networks.settings import Channels

ONE, TWO = Channels.of_flow(), Channels.of_flow(2)


def loss_of(kind: str, channels: Channels = ONE, **settings: float) -> Loss:
    return LOSSES.build(LOSSES.settings(kind, **settings), channels)


def fields(channels: int, seed: int, n: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, channels, n, n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", LOSSES.entries)
@pytest.mark.parametrize("channels", [ONE, TWO])
def test_losses_are_sums_over_samples(kind: str, channels: Channels):
    inputs, targets = fields(len(channels.inputs), 1), fields(len(channels.outputs), 2)
    prediction = fields(len(channels.outputs), 3).requires_grad_()
    loss = loss_of(kind, channels)
    whole = loss(prediction, targets, inputs)
    parts = [loss(prediction[i : i + 1], targets[i : i + 1], inputs[i : i + 1]) for i in range(3)]
    assert float(whole.detach()) == pytest.approx(float(sum(parts).detach()), rel=1e-12)
    assert float(loss(targets, targets, inputs)) == 0.0
    assert float(whole.detach()) >= float((prediction - targets).detach().square().sum())
    whole.backward()
    assert bool(prediction.grad.isfinite().all()) and bool(prediction.grad.any())


def test_the_transfer_is_that_of_each_layer():
    inputs, targets, prediction = fields(4, 1), fields(2, 2), fields(2, 3)
    found = float(loss_of("mse_transfer", TWO, weight=0.5)(prediction, targets, inputs))
    x, e = inputs.numpy(), (prediction - targets).numpy()
    assert TWO.inputs == ("psi_1", "psi_2", "omega_1", "omega_2")
    transfer = (x[:, 2:] * e).mean(axis=(2, 3))
    expected = np.sum(e**2) + 0.5 * e[0].size * np.sum(np.mean(transfer**2, axis=1))
    assert found == pytest.approx(expected, rel=1e-12)


def test_spectra_do_not_see_phases_but_what_is_too_weak():
    inputs, targets = fields(2, 1), fields(1, 2)
    loss, plain = loss_of("mse_spectral", weight=2.0), loss_of("mse")
    moved = targets.roll((3, 5), (2, 3))
    assert float(loss(moved, targets, inputs)) == pytest.approx(
        float(plain(moved, targets, inputs)), rel=1e-9
    )
    # Half as strong everywhere: the amplitudes are as wrong as the field itself.
    assert float(loss(0.5 * targets, targets, inputs)) == pytest.approx(
        3.0 * float(plain(0.5 * targets, targets, inputs)), rel=1e-6
    )
    nothing = torch.zeros_like(targets).requires_grad_()
    loss(nothing, targets, inputs).backward()
    assert bool(nothing.grad.isfinite().all())


@pytest.mark.parametrize("shape", [(12, 12), (9, 9), (8, 14)])
def test_shells_hold_the_mean_square(shape: tuple[int, int]):
    from eddyscope.learning.losses import _spectrum

    field = torch.randn(2, 1, *shape, dtype=torch.float64)
    torch.testing.assert_close(_spectrum(field).sum(2), field.square().mean((2, 3)))


def test_a_wave_lies_in_its_shell():
    from eddyscope.learning.losses import _spectrum

    x = 2.0 * np.pi * np.arange(16) / 16
    wave = np.cos(3 * x[:, None] + 4 * x[None, :])
    spectrum = _spectrum(torch.from_numpy(wave)[None, None])[0, 0].numpy()
    assert spectrum[5] == pytest.approx(0.5) and spectrum.sum() == pytest.approx(0.5)


def test_transfers_need_vorticity():
    with pytest.raises(CaseError, match=r"needs omega among .* it takes psi and gives pi"):
        loss_of("mse_transfer", Channels(("psi",), ("pi",)))
