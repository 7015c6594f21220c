"""What `analysis.h5` contains: groups and variables, with the dimensions that xarray shows.

    kernels/<model>/<layer>   shape and kind of every kernel, and its change from the base
                              model; of base and single-layer models also its gain by shell
                              and, where there is room, its map of |T|
    changes                   change of every layer of every model, beside the null model
    most_changed/<model>      the kernels that changed most: weights and |T|, before and after
    activations/<run>         spectra before and after the ReLU of each layer
    example_on_base           Π of one held-out sample of the base: exact, and the base model's

Only layers whose kernels differ from the base model's have a group of their own.
Wavenumbers are those of the network's grid; maps have k = 0 in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.analysis.activation_spectra import LayerSpectra
from eddyscope.analysis.kernel_spectra import KINDS, gain
from eddyscope.analysis.kernel_survey import LayerSurvey, Moved
from eddyscope.spectral.grid import BOX
from eddyscope.storage.layout import Variable

__all__ = [
    "FORMAT",
    "MAP_SIDE",
    "activation_group",
    "change_group",
    "example_group",
    "kernel_group",
    "map_side",
    "moved_group",
]

FORMAT = "eddyscope-analysis-1"

MAP_SIDE = 16
"""Points a side of the maps of all kernels. |T|² of a 5 × 5 kernel has 9 harmonics a
direction, so 16 points hold all there is to know of it."""

Group = dict[str, Variable]


def map_side(n: int) -> int:
    """Points a side of stored maps on the network's grid of n points."""
    return min(n, MAP_SIDE)


def kernel_group(
    survey: LayerSurvey, weights: NDArray[Any], n: int, spectra: bool, maps: bool
) -> Group:
    """One layer of one model; `spectra` adds every kernel's gain by shell, `maps` its |T|."""
    shape = survey.shape
    dims = ("out", "in")
    group = {
        "out": _count("out", survey.radial.shape[0], "output channel"),
        "in": _count("in", survey.radial.shape[1], "input channel"),
        "centroid": _per_kernel(shape.centroid, "mean |k| weighted by |T|²", "n/2"),
        "bandwidth": _per_kernel(shape.bandwidth, "standard deviation of |k|", "n/2"),
        "anisotropy": _per_kernel(shape.anisotropy, "|Σ|T|² exp(2iφ)| / Σ|T|²"),
        "zero_share": _per_kernel(shape.zero_share, "|T(0)| / max|T|"),
        "peak": _per_kernel(shape.peak, "|k| of the largest |T|", "n/2"),
        "kind": Variable(
            dims,
            shape.kind,
            long_name="kind of kernel",
            attributes={
                "flag_values": np.arange(len(KINDS), dtype=np.int8),
                "flag_meanings": " ".join(KINDS),
            },
        ),
    }
    if survey.change is not None:
        group |= {
            "weight_change": _per_kernel(survey.change.weights, "‖W' − W‖ from the base model"),
            "gain_change": _per_kernel(survey.change.spectrum, "‖|T'| − |T|‖ / n"),
            "change_over_null": _per_kernel(
                survey.change.over_null, "gain_change in units of the null model's"
            ),
        }
    if spectra:
        text = "root mean square of |T| over a shell"
        group |= {
            "wavenumber": _shells(survey.radial.shape[2]),
            "gain": Variable((*dims, "wavenumber"), survey.radial, long_name=text),
        }
    if maps:
        side = map_side(n)
        shifted = np.fft.fftshift(gain(weights, side), axes=(-2, -1)).astype(np.float32)
        group |= {
            **_map_axes(side, n),
            "map": Variable((*dims, "ky", "kx"), shifted, long_name="|T(k)|"),
        }
    return group


def change_group(
    found: Mapping[tuple[str, str], LayerSurvey], models: Sequence[str], layers: Sequence[str]
) -> Group:
    """Changes by (model, layer): 0 where a layer was not re-trained."""
    shape = (len(models), len(layers))
    relative, spectral, null = np.zeros(shape), np.zeros(shape), np.full(shape, np.nan)
    for (model, layer), survey in found.items():
        if survey.change is not None:
            place = models.index(model), layers.index(layer)
            relative[place] = survey.change.relative
            spectral[place] = np.sqrt(np.mean(survey.change.spectrum**2))
            null[place] = survey.change.null
    dims = ("model", "layer")
    return {
        "model": Variable(("model",), np.array(models), long_name="re-trained model"),
        "layer": Variable(("layer",), np.array(layers), long_name="layer"),
        "relative": Variable(dims, relative, long_name="‖W' − W‖ / ‖W‖ of the layer"),
        "spectral": Variable(
            dims, spectral, long_name="root mean square over kernels of ‖|T'| − |T|‖ / n"
        ),
        "null": Variable(
            dims, null, long_name="median of the same between two kernels of the base's layer"
        ),
    }


def moved_group(moved: Sequence[Moved], n: int) -> Group:
    """The kernels that changed most, the most changed first."""
    dims = ("rank",)
    before = np.stack([m.before for m in moved])
    after = np.stack([m.after for m in moved])
    side = before.shape[-1]
    return {
        "rank": _count("rank", len(moved), "place, most changed first"),
        "row": _count("row", side, "row of the kernel"),
        "column": _count("column", side, "column of the kernel"),
        **_map_axes(n, n),
        "layer": Variable(dims, np.array([m.layer for m in moved]), long_name="layer"),
        "output": Variable(dims, np.array([m.output for m in moved]), long_name="output channel"),
        "input": Variable(dims, np.array([m.input for m in moved]), long_name="input channel"),
        "change": Variable(
            dims, np.array([m.change for m in moved]), long_name="change in units of the null's"
        ),
        "weights_before": _kernels(before, "weights of the base model"),
        "weights_after": _kernels(after, "weights after re-training"),
        "map_before": _maps(before, n, "|T(k)| of the base model"),
        "map_after": _maps(after, n, "|T(k)| after re-training"),
    }


def activation_group(spectra: LayerSpectra, channels: Sequence[str]) -> Group:
    """Activation spectra of one run of a model over one system's samples."""
    dims = ("layer", "wavenumber")
    units = "normalised activation, squared"
    return {
        "layer": Variable(("layer",), np.array(spectra.layers), long_name="layer"),
        "channel": Variable(("channel",), np.array(channels), long_name="input channel"),
        "wavenumber": _shells(spectra.before.shape[1]),
        "h": Variable(dims, spectra.before, units, "spectrum before the ReLU, summed over shells"),
        "g": Variable(dims, spectra.after, units, "spectrum after the ReLU, summed over shells"),
        "active": Variable(("layer",), spectra.active, long_name="share of points with h > 0"),
        "input": Variable(
            ("channel", "wavenumber"), spectra.inputs, units, "spectrum of the network's inputs"
        ),
    }


def example_group(exact: NDArray[Any], predicted: NDArray[Any]) -> Group:
    """One sample of the subgrid term, in physical units, beside a prediction of it."""
    points = np.arange(len(exact)) * (BOX / len(exact))
    return {
        "y": Variable(("y",), points, long_name="coordinate y"),
        "x": Variable(("x",), points, long_name="coordinate x"),
        "pi_exact": Variable(("y", "x"), exact, long_name="exact subgrid term"),
        "pi_base": Variable(("y", "x"), predicted, long_name="prediction of the base model"),
    }


def _count(name: str, length: int, text: str) -> Variable:
    return Variable((name,), np.arange(length), long_name=text)


def _shells(count: int) -> Variable:
    return Variable(("wavenumber",), np.arange(float(count)), "1", "wavenumber |k| of the shell")


def _per_kernel(values: NDArray[Any], text: str, units: str = "1") -> Variable:
    return Variable(("out", "in"), values.astype(np.float32), units, text)


def _map_axes(side: int, n: int) -> Group:
    """Wavenumbers of a map of `side` points, in those of the network's grid of n."""
    k = np.arange(-(side // 2), side - side // 2) * (n / side)
    return {
        "ky": Variable(("ky",), k, long_name="wavenumber along y"),
        "kx": Variable(("kx",), k, long_name="wavenumber along x"),
    }


def _kernels(weights: NDArray[Any], text: str) -> Variable:
    return Variable(("rank", "row", "column"), weights.astype(np.float32), long_name=text)


def _maps(weights: NDArray[Any], n: int, text: str) -> Variable:
    shifted = np.fft.fftshift(gain(weights, n), axes=(-2, -1))
    return Variable(("rank", "ky", "kx"), shifted.astype(np.float32), long_name=text)
