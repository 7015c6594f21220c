"""From surveys and spectra to the groups of analysis.h5 (`artefacts/analysis.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from eddyscope.analysis.activation_spectra import LayerSpectra, Subject, measure
from eddyscope.analysis.convolutions import grids_of, kernels_of
from eddyscope.analysis.kernel_spectra import KINDS, amplification
from eddyscope.analysis.kernel_survey import LayerSurvey, Moved, most_changed, survey
from eddyscope.artefacts.analysis import (
    activation_group,
    changes_group,
    kernel_group,
    most_changed_group,
)
from eddyscope.artefacts.key import BASE, ModelKey
from eddyscope.config.arrays import AnyArray, FloatArray, RealArray
from eddyscope.networks.base import LayeredModel
from eddyscope.parallel.world import World

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MAP_SIDE", "SHOWN", "activation_groups", "kernel_groups"]

SHOWN = 8
"""Kernels shown before and after, of each model."""

MAP_SIDE = 16
"""Points a side of the maps of all kernels. |T|² of a 5 × 5 kernel has 9 harmonics a
direction, so 16 points hold all there is to know of it; larger kernels have more points."""


def kernel_groups(
    world: World,
    models: Mapping[ModelKey, LayeredModel],
    n: int,
    seed: int,
    maps: bool,
    untrained: LayeredModel | None = None,
) -> dict[str, xr.Dataset]:
    """Groups of the kernels of all models, of a network on n × n points, and of their changes.
    Collective.

    models: the base model first. seed: of the null models. maps: whether maps of all kernels of
    base and single-layer models are wanted. untrained: the network before any training, whose
    kinds of kernels are given beside.
    """
    kernels = {str(key): kernels_of(model) for key, model in models.items()}
    base = next(iter(models.values()))
    grids = grids_of(base, n)
    found = survey(world, kernels, grids, seed)
    detailed = {str(key) for key in models if key.is_base or key.is_single_layer}
    groups = {
        f"kernels/{model}/{layer}": kernel_group(
            _arrays(entry, kernels[model][layer], grids[layer], model in detailed, maps),
            KINDS,
            grids[layer],
        )
        for (model, layer), entry in found.items()
    }
    others = [key for key in models if not key.is_base]
    layers = list(kernels_of(base))
    if layers:
        groups["changes"] = changes_group(others, layers, _changes(found, others, layers))
    for key in others:
        moved = most_changed(found, kernels, str(key), SHOWN)
        if moved:
            groups[f"most_changed/{key}"] = most_changed_group(_moved(moved, grids, n), n)
    if untrained is not None:
        random = survey(world, {BASE: kernels_of(untrained)}, grids, seed)
        for (_, layer), entry in random.items():
            kinds = {"kind": entry.shape.kind}
            groups[f"random/{layer}"] = kernel_group(kinds, KINDS, grids[layer])
    return groups


def activation_groups(world: World, subjects: Mapping[str, Subject]) -> dict[str, xr.Dataset]:
    """Groups of the activation spectra of every run. Collective."""
    spectra = measure(world, subjects)
    return {
        f"activations/{run}": activation_group(
            found.layers, subjects[run].model.channels.inputs, _activations(found)
        )
        for run, found in spectra.items()
    }


def _activations(found: LayerSpectra) -> dict[str, AnyArray]:
    return {
        "points": found.points,
        "h": found.h,
        "g": found.g,
        "positive": found.positive,
        "input": found.inputs,
    }


def _arrays(
    entry: LayerSurvey, weights: RealArray, n: int, detailed: bool, maps: bool
) -> dict[str, AnyArray]:
    """What is kept of one layer of one model."""
    arrays: dict[str, AnyArray] = asdict(entry.shape)
    if entry.change is not None:
        arrays["weight_change"] = entry.change.weights
        arrays["amplification_change"] = entry.change.spectrum
        arrays["change_over_null"] = entry.change.over_null
    if detailed:
        arrays["amplification"] = entry.radial
    if detailed and maps:
        arrays["map"] = _centred(weights, map_side(weights, n))
    return arrays


def map_side(weights: RealArray, n: int) -> int:
    """Points a side of stored maps of kernels on a grid of n points."""
    return min(n, max(MAP_SIDE, *(2 * int(side) for side in weights.shape[-2:])))


def _centred(weights: RealArray, side: int) -> RealArray:
    """|T| with k = 0 in the middle, on side × side wavenumbers."""
    shifted = np.fft.fftshift(amplification(weights, side), axes=(-2, -1))
    return shifted.astype(np.float32)


def _changes(
    found: Mapping[tuple[str, str], LayerSurvey], models: Sequence[ModelKey], layers: Sequence[str]
) -> dict[str, FloatArray]:
    """Changes by (model, layer): 0 where a layer was not re-trained."""
    shape = (len(models), len(layers))
    relative, spectral, null = np.zeros(shape), np.zeros(shape), np.full(shape, np.nan)
    names = [str(key) for key in models]
    for (model, layer), entry in found.items():
        if entry.change is not None:
            place = names.index(model), layers.index(layer)
            relative[place] = entry.change.relative
            spectral[place] = np.sqrt(np.mean(entry.change.spectrum**2))
            null[place] = entry.change.null
    return {"relative": relative, "spectral": spectral, "null": null}


def _moved(moved: Sequence[Moved], grids: Mapping[str, int], n: int) -> dict[str, AnyArray]:
    """The kernels that changed most, the most changed first."""
    weights = {"before": [m.before for m in moved], "after": [m.after for m in moved]}
    sides = [grids[m.layer] for m in moved]
    arrays: dict[str, AnyArray] = {
        "layer": np.array([m.layer for m in moved]),
        "output": np.array([m.output for m in moved]),
        "input": np.array([m.input for m in moved]),
        "change": np.array([m.change for m in moved]),
    }
    for when, kernels in weights.items():
        maps = [_centred(k, side) for k, side in zip(kernels, sides, strict=True)]
        arrays[f"weights_{when}"] = _stacked(kernels)
        arrays[f"map_{when}"] = np.stack([_in_the_middle(m, n) for m in maps])
    return arrays


def _stacked(kernels: Sequence[RealArray]) -> RealArray:
    """Kernels of any sides in one array, NaN beyond each."""
    rows, columns = (max(kernel.shape[axis] for kernel in kernels) for axis in (0, 1))
    result = np.full((len(kernels), rows, columns), np.nan, np.float32)
    for place, kernel in zip(result, kernels, strict=True):
        place[: kernel.shape[0], : kernel.shape[1]] = kernel
    return result


def _in_the_middle(centred: RealArray, n: int) -> RealArray:
    """A map with k = 0 in the middle on the wavenumbers of n points, NaN beyond its own."""
    side = centred.shape[-1]
    result = np.full((n, n), np.nan, np.float32)
    own = slice(n // 2 - side // 2, n // 2 - side // 2 + side)
    result[own, own] = centred
    return result
