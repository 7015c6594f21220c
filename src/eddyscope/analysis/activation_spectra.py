"""Shell spectra of what flows through a network: before (h) and after (g) every nonlinearity.

Layer l computes h_l = W_l ⋆ g_{l−1} + b_l and g_l = ReLU(h_l). The linear part can only
re-weight wavenumbers that reach it; the ReLU multiplies h by the mask of its positive
points, which spreads every wavenumber over all others. So the spectra of h and g, layer by
layer and system by system, show where a network first meets wavenumbers it was not
trained for, and what it makes of them.

With ĥ = FFT(h)/n², the spectrum of shell κ is S_h(κ) = Σ_{|k| ≈ κ} |ĥ(k)|², averaged over
channels and samples; Σ_κ S_h(κ) is the mean of h² (Parseval). Shells go up to the corners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World
from eddyscope.spectral.shells import sums_over_plane

__all__ = ["CHUNK", "LayerSpectra", "Probe", "measure", "shell_power"]

CHUNK = 2
"""Samples a piece of work: fixed, so that sums do not depend on the number of ranks."""

Activations = Iterable[tuple[str, torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class LayerSpectra:
    """Spectra of every layer, averaged over channels and samples; axes (layer, wavenumber)."""

    layers: tuple[str, ...]
    before: NDArray[np.float64]
    """S_h: before the ReLU."""
    after: NDArray[np.float64]
    """S_g: after it (the last layer has no ReLU, so there g = h)."""
    active: NDArray[np.float64]
    """Share of points with h > 0, axis (layer)."""
    inputs: NDArray[np.float64]
    """Spectra of the network's input channels, axes (channel, wavenumber)."""

    def __add__(self, other: LayerSpectra) -> LayerSpectra:
        assert self.layers == other.layers
        return LayerSpectra(
            self.layers,
            self.before + other.before,
            self.after + other.after,
            self.active + other.active,
            self.inputs + other.inputs,
        )

    def scaled(self, factor: float) -> LayerSpectra:
        return LayerSpectra(
            self.layers,
            self.before * factor,
            self.after * factor,
            self.active * factor,
            self.inputs * factor,
        )


@dataclass(frozen=True)
class Probe:
    """One network looked at while it works on samples of one system."""

    activations: Callable[[torch.Tensor], Activations]
    """Input (sample, channel, y, x), normalised -> name, h and g of every layer, in order."""
    inputs: torch.Tensor
    """Normalised samples, (sample, channel, y, x)."""

    def __len__(self) -> int:
        return len(self.inputs)


def measure(world: World, probes: Mapping[str, Probe]) -> dict[str, LayerSpectra]:
    """Activation spectra of every probe, averaged over its samples. Collective.

    Pieces of `CHUNK` samples are dealt to the ranks and summed in their order, so the
    result is the same, bit for bit, on any number of ranks.
    """
    pieces = [
        (name, slice(start, min(start + CHUNK, len(probe))))
        for name, probe in probes.items()
        for start in range(0, len(probe), CHUNK)
    ]
    sums = map_in_order(world, lambda piece: _sum_over(probes[piece[0]], piece[1]), pieces)
    totals: dict[str, LayerSpectra] = {}
    for (name, _), part in zip(pieces, sums, strict=True):
        totals[name] = totals[name] + part if name in totals else part
    return {name: total.scaled(1.0 / len(probes[name])) for name, total in totals.items()}


def _sum_over(probe: Probe, samples: slice) -> LayerSpectra:
    """Spectra summed over some samples, averaged over channels. Not collective."""
    inputs = probe.inputs[samples]
    names: list[str] = []
    before, after, active = [], [], []
    with torch.no_grad():
        for name, h, g in probe.activations(inputs):
            names.append(name)
            before.append(_channel_mean(h))
            after.append(_channel_mean(g))
            active.append(float((h > 0).to(torch.float64).mean()) * len(h))
    return LayerSpectra(
        tuple(names),
        np.stack(before),
        np.stack(after),
        np.array(active),
        shell_power(inputs).sum(axis=0),
    )


def _channel_mean(field: torch.Tensor) -> NDArray[np.float64]:
    """Spectrum averaged over channels and summed over samples, shape (wavenumber,)."""
    mean: NDArray[np.float64] = shell_power(field).mean(axis=1).sum(axis=0)
    return mean


def shell_power(field: torch.Tensor) -> NDArray[np.float64]:
    """S(κ) of fields (sample, channel, n, n), shape (sample, channel, shells)."""
    spectrum = torch.fft.fft2(field.to(torch.float64), norm="forward")
    power = (spectrum.real**2 + spectrum.imag**2).cpu().numpy()
    return sums_over_plane(power, corners=True)
