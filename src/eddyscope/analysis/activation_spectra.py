"""Shell spectra of what flows through a network: what each layer gives (h), and what is made of
it (g).

  h_l  what layer l gives, before anything is done to it;
  g_l  what the first layer that is fed by it is given; where it feeds no layer, the network's
       output.

In a chain of convolutions with a nonlinearity σ between them g_l = σ(h_l). A layer can only
re-weight the wavenumbers that reach it; a nonlinearity spreads every wavenumber over all others.
So the spectra of h and g, layer by layer and system by system, show where a network first
meets wavenumbers it was not trained for, and what it makes of them. Where a network does more
between two layers (pooling, joining channels), g_l shows all of it.

With ĥ = FFT(h)/n², the spectrum of shell κ is S_h(κ) = Σ_{|k| ≈ κ} |ĥ(k)|², averaged over
channels and samples; Σ_κ S_h(κ) is the mean of h² (Parseval). Shells go up to the corners. What
is on a coarser grid has fewer shells, the rest is NaN; so is all of what is no field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eddyscope.config.arrays import FloatArray, IntArray
from eddyscope.config.errors import CaseError
from eddyscope.networks.base import LayerCall, LayeredModel
from eddyscope.parallel.torch_group import pick_device
from eddyscope.parallel.work import map_in_order
from eddyscope.parallel.world import World
from eddyscope.spectral.shells import shell_counts, sums_over_plane

__all__ = ["CHUNK", "LayerSpectra", "Subject", "measure", "shell_power"]

CHUNK = 2
"""Samples a piece of work: fixed, so that sums do not depend on the number of ranks."""

VARIES = (
    "the network calls its layers more or less often, or in another order, for other samples, so "
    "there are no mean spectra of them; let its forward call the same layers always"
)
"""Why there are no spectra, where calls differ."""


@dataclass(frozen=True)
class LayerSpectra:
    """Spectra of every layer, averaged over channels and samples; axes (layer, wavenumber)."""

    layers: tuple[str, ...]
    """As a forward pass meets them; a layer that is met twice is there twice."""
    points: IntArray
    """Points a side of h, axis (layer); 0 if it is no field."""
    h: FloatArray
    g: FloatArray
    positive: FloatArray
    """Share of points with h > 0, axis (layer)."""
    inputs: FloatArray
    """Spectra of the network's input channels, axes (channel, wavenumber)."""

    def __add__(self, other: LayerSpectra) -> LayerSpectra:
        if self.layers != other.layers:
            raise CaseError(VARIES)
        return LayerSpectra(
            self.layers,
            self.points,
            self.h + other.h,
            self.g + other.g,
            self.positive + other.positive,
            self.inputs + other.inputs,
        )

    def scaled(self, factor: float) -> LayerSpectra:
        return LayerSpectra(
            self.layers,
            self.points,
            self.h * factor,
            self.g * factor,
            self.positive * factor,
            self.inputs * factor,
        )


@dataclass(frozen=True)
class Subject:
    """One network looked at while it works on samples of one system."""

    model: LayeredModel
    inputs: Tensor
    """Normalised samples, (sample, channel, y, x)."""

    def __len__(self) -> int:
        return len(self.inputs)


def measure(world: World, subjects: Mapping[str, Subject]) -> dict[str, LayerSpectra]:
    """Activation spectra of every subject, averaged over its samples. Collective.

    Pieces of `CHUNK` samples are dealt to the ranks and summed in their order, so the
    result is the same, bit for bit, on any number of ranks with the same devices. The networks go
    to the rank's device, and each piece when its turn comes.
    """
    device = pick_device(world.comm)
    for subject in subjects.values():
        subject.model.to(device)
    pieces = [
        (name, slice(start, min(start + CHUNK, len(subject))))
        for name, subject in subjects.items()
        for start in range(0, len(subject), CHUNK)
    ]
    sums = map_in_order(world, lambda piece: _sum_over(subjects[piece[0]], piece[1]), pieces)
    totals: dict[str, LayerSpectra] = {}
    for (name, _), part in zip(pieces, sums, strict=True):
        totals[name] = totals[name] + part if name in totals else part
    return {name: total.scaled(1.0 / len(subjects[name])) for name, total in totals.items()}


def _sum_over(subject: Subject, samples: slice) -> LayerSpectra:
    """Spectra summed over some samples, averaged over channels. Not collective."""
    inputs = subject.inputs[samples].to(subject.model.device)
    calls, output = _recorded(subject.model, inputs)
    passed = (field for call in calls for field in (call.input, call.output))
    given = [inputs, *passed, output]
    shells = max(len(shell_counts(field.shape[-1])) for field in given if _is_field(field))
    fed = subject.model.fed(inputs[:1])
    if len(fed) != len(calls):
        raise CaseError(VARIES)
    made = [output if place is None else calls[place].input for place in fed]
    return LayerSpectra(
        tuple(call.name for call in calls),
        np.array([call.output.shape[-1] if _is_field(call.output) else 0 for call in calls]),
        _spectra([call.output for call in calls], shells),
        _spectra(made, shells),
        np.array([_share_above_zero(call.output) * len(inputs) for call in calls]),
        shell_power(inputs).sum(axis=0),
    )


def _recorded(model: LayeredModel, inputs: Tensor) -> tuple[list[LayerCall], Tensor]:
    """What every layer is given and gives in one forward pass, and what the network gives."""
    outputs: list[Tensor] = []
    handle = model.module.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        with torch.no_grad():
            return model.recorded(inputs), outputs[-1]
    finally:
        handle.remove()


def _share_above_zero(field: Tensor) -> float:
    return float((field > 0).to(torch.float64).mean())


def _is_field(values: Tensor) -> bool:
    """Whether the axes are (sample, channel, y, x), on a square grid."""
    return values.dim() == 4 and values.shape[-1] == values.shape[-2]


def _spectra(fields: Sequence[Tensor], shells: int) -> FloatArray:
    """Of each field: averaged over channels and summed over samples, NaN for shells it lacks;
    shape (field, shells)."""
    result = np.full((len(fields), shells), np.nan)
    for spectrum, field in zip(result, fields, strict=True):
        if _is_field(field):
            own = shell_power(field).mean(axis=1).sum(axis=0)
            spectrum[: len(own)] = own
    return result


def shell_power(field: Tensor) -> FloatArray:
    """S(κ) of fields (sample, channel, n, n), shape (sample, channel, shells)."""
    spectrum = torch.fft.fft2(field.to(torch.float64), norm="forward")
    power = (spectrum.real**2 + spectrum.imag**2).cpu().numpy()
    return sums_over_plane(power, corners=True)
