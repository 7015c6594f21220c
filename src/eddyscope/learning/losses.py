"""What training makes small. Imports no torch, so that case files are read fast.

All are of normalised fields, and begin with the mean squared error over samples, channels and
points. A loss is called with prediction, targets (sample, output channel, y, x) and inputs
(sample, input channel, y, x), and gives its sum over samples, times the values of a sample: then
the mean over any samples is that sum over all their values.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.registry import Registry
from eddyscope.networks.settings import Channels
from eddyscope.spectral.shells import shell_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["LOSSES", "Loss", "Mse"]

TINY = 1e-12
"""Added under a root, whose slope at 0 has no bound."""


class Loss(Protocol):
    """A loss, made for the channels of a network."""

    needs_shells: ClassVar[bool]
    """Whether it takes spectra, of periodic fields with as many points along y as along x."""

    def __call__(self, prediction: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        """Its sum over samples, times the values of a sample."""


class Mse:
    """The mean squared error."""

    class Settings(Section):
        """The mean squared error."""

        kind: Literal["mse"] = "mse"

    needs_shells: ClassVar[bool] = False

    def __init__(self, settings: Section | None = None, channels: Channels | None = None):
        self.settings = settings or self.Settings()

    def __call__(self, prediction: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        return (prediction - targets).square().sum()


class MseSpectral:
    """Mean squared error + weight · Σ_k (√E_p(k) − √E(k))², of Π's spectra over shells of width 1.

    Σ_k E(k) is the mean square of a field, so the sum is the least mean squared error of any field
    with the predicted spectrum: phases do not count in it, and what is too weak is not made good by
    getting less of it wrong.
    """

    class Settings(Section):
        """The mean squared error, and that of the amplitudes of Π shell by shell."""

        kind: Literal["mse_spectral"] = "mse_spectral"
        weight: float = Field(default=1.0, ge=0.0)
        """Of the spectra's part."""

    needs_shells: ClassVar[bool] = True
    settings: Settings

    def __init__(self, settings: Settings, channels: Channels):
        self.settings = settings

    def __call__(self, prediction: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        amplitudes = [(_spectrum(field) + TINY).sqrt() for field in (prediction, targets)]
        of_spectra = (amplitudes[0] - amplitudes[1]).square().sum(2).mean(1).sum()
        squared = (prediction - targets).square().sum()
        return squared + self.settings.weight * targets[0].numel() * of_spectra


class MseTransfer:
    """Mean squared error + weight · (⟨ω̄ Π_p⟩ − ⟨ω̄ Π⟩)², ⟨·⟩ over the points of a sample; of flows
    of several layers the mean over them.

    The enstrophy that Π takes from the resolved scales in all is then not left to chance (Guan et
    al. 2023, arXiv 2201.07347, "EnsCon").
    """

    class Settings(Section):
        """The mean squared error, and that of the enstrophy transfer in all."""

        kind: Literal["mse_transfer"] = "mse_transfer"
        weight: float = Field(default=1.0, ge=0.0)
        """Of the transfer's part."""

    needs_shells: ClassVar[bool] = False
    settings: Settings

    def __init__(self, settings: Settings, channels: Channels):
        self.settings = settings
        names = [name for name in channels.outputs if re.fullmatch(r"pi(_\d+)?", name)]
        vorticities = [name.replace("pi", "omega", 1) for name in names]
        lacking = [name for name in vorticities if name not in channels.inputs]
        if lacking or not names:
            raise CaseError(
                f"the loss mse_transfer needs omega among the network's inputs and pi among its "
                f"outputs, but it takes {', '.join(channels.inputs)} and gives "
                f'{", ".join(channels.outputs)}; choose another loss, such as "mse"'
            )
        self.omegas = [channels.inputs.index(name) for name in vorticities]
        self.pis = [channels.outputs.index(name) for name in names]

    def __call__(self, prediction: Tensor, targets: Tensor, inputs: Tensor) -> Tensor:
        error = prediction - targets
        transfer = (inputs[:, self.omegas] * error[:, self.pis]).mean((2, 3))
        of_transfer = transfer.square().mean(1).sum()
        squared = error.square().sum()
        return squared + self.settings.weight * targets[0].numel() * of_transfer


def _spectrum(field: Tensor) -> Tensor:
    """(sample, channel, shell) of fields (sample, channel, y, x): mean squares by the shells of
    `spectral/shells.py`, but that of k = n/2 has the corners too."""
    import torch

    n = field.shape[-1]
    coefficients = torch.fft.rfft2(field, norm="forward")
    shells = _shells(field.shape[-2], n, field.device)
    # Of a real field half the plane is kept: what stands for two counts twice.
    twice = torch.full((n // 2 + 1,), 2.0, device=field.device)
    twice[0] = 1.0
    if n % 2 == 0:
        twice[-1] = 1.0
    squares = (coefficients.abs().square() * twice).flatten(2)
    empty = squares.new_zeros(*squares.shape[:2], n // 2 + 1)
    summed: Tensor = empty.index_add(2, shells, squares)
    return summed


@cache
def _shells(ny: int, nx: int, device: torch.device) -> Tensor:
    """The shell of each coefficient that a real transform keeps, as one axis."""
    import torch

    ky, kx = np.fft.fftfreq(ny, 1.0 / ny), np.fft.rfftfreq(nx, 1.0 / nx)
    shells = np.minimum(shell_of(np.hypot(ky[:, None], kx)), nx // 2)
    return torch.from_numpy(shells.ravel()).to(device)


LOSSES: Registry[Loss] = Registry(
    "loss", {"mse": Mse, "mse_spectral": MseSpectral, "mse_transfer": MseTransfer}
)
"""Names in case files -> classes."""
