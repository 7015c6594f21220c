"""The analysis: what kernels and activations look like in Fourier space. One file, analysis.h5:

    kernels/<model>/<layer>   what every kernel looks like, (out, in), and its change from the base
                              model; of base and single-layer models also its amplification by
                              shell, and, where not too many, its map of |T|
    random/<layer>            kinds of the kernels that the network has before any training: weights
                              drawn anew, as training begins with them
    changes                   change of every layer of every model, beside the null model
    most_changed/<model>      the kernels that changed most: weights and |T|, before and after
    activations/<run>         spectra of what each layer gives and of what is made of it
    example_on_base           Π of one held-out sample of the base: exact, and the base model's

Variables, dims, units and meanings stand in the tables below. Only layers that are convolutions
have kernels, and only those that differ from the base model's have a group of their own.
Wavenumbers are whole numbers (box 2π) up to those of the grid that a layer works on; maps have
k = 0 in the middle. Root attributes: provenance, `format`, `n` (points a side of the network's
grid), `best` (model of the single layer that was the best; "" if there is none), `runs` (JSON:
run -> {"model", "system"}), `left_out` (layers that are no
convolutions), `shift_error` (of the base model, see `networks/shift.py`), `normalisation` (of the
target's fields, see `artefacts/normalisation.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eddyscope.artefacts.key import ModelKey, layers_text
from eddyscope.config.arrays import AnyArray, FloatArray, RealArray
from eddyscope.spectral.grid import BOX
from eddyscope.storage.small import Attribute, read_tree, write_tree

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "FORMAT",
    "Run",
    "activation_group",
    "changes_group",
    "example_group",
    "kernel_group",
    "most_changed_group",
    "read_analysis",
    "write_analysis",
]

FORMAT = "eddyscope-analysis-4"


class Meant(NamedTuple):
    """What a variable is."""

    dims: tuple[str, ...]
    units: str
    meaning: str


class Run(NamedTuple):
    """A model at work on a system's samples."""

    model: ModelKey
    system: str


PER_KERNEL = ("out", "in")
CHANGE = ("model", "layer")
RANKED = ("rank",)
WEIGHTS = ("rank", "row", "column")
MAP = ("rank", "ky", "kx")
ACTIVITY = "normalised activation, squared"
"""Dimensions of the groups' variables, and the unit of activations' spectra."""

KERNELS = {
    "centroid": Meant(PER_KERNEL, "n/2", "mean |k| weighted by |T|²"),
    "bandwidth": Meant(PER_KERNEL, "n/2", "standard deviation of |k|"),
    "anisotropy": Meant(PER_KERNEL, "1", "|Σ|T|² exp(2iφ)| / Σ|T|²"),
    "zero_share": Meant(PER_KERNEL, "1", "|T(0)| / max|T|"),
    "peak": Meant(PER_KERNEL, "n/2", "|k| of the largest |T|"),
    "kind": Meant(PER_KERNEL, "1", "kind of kernel, see flag_meanings"),
    "weight_change": Meant(PER_KERNEL, "1", "‖W' − W‖ from the base model"),
    "amplification_change": Meant(PER_KERNEL, "1", "‖|T'| − |T|‖ / n"),
    "change_over_null": Meant(PER_KERNEL, "1", "amplification_change over the null model's"),
    "amplification": Meant(
        (*PER_KERNEL, "wavenumber"), "1", "root mean square of |T| over a shell"
    ),
    "map": Meant((*PER_KERNEL, "ky", "kx"), "1", "|T(k)|"),
}
"""Of kernels/<model>/<layer>; n: points a side of the layer's grid, its attribute `n`."""

CHANGES = {
    "relative": Meant(CHANGE, "1", "‖W' − W‖ / ‖W‖ of the layer; 0: not re-trained"),
    "spectral": Meant(CHANGE, "1", "root mean square over kernels of ‖|T'| − |T|‖ / n"),
    "null": Meant(CHANGE, "1", "median of the same between two kernels of the base's layer"),
    "adaptation": Meant(("model",), "1", "kind of the model's adaptation"),
    "adapted_layers": Meant(("model",), "1", "layers that the adaptation names"),
}
"""Of changes."""

MOST_CHANGED = {
    "layer": Meant(RANKED, "1", "layer"),
    "output": Meant(RANKED, "1", "output channel"),
    "input": Meant(RANKED, "1", "input channel"),
    "change": Meant(RANKED, "1", "change in units of the null model's"),
    "weights_before": Meant(WEIGHTS, "1", "weights of the base model; NaN beyond the kernel"),
    "weights_after": Meant(WEIGHTS, "1", "weights after re-training"),
    "map_before": Meant(MAP, "1", "|T(k)| of the base model; NaN beyond the layer's grid"),
    "map_after": Meant(MAP, "1", "|T(k)| after re-training"),
}
"""Of most_changed/<model>, the most changed first."""

ACTIVATIONS = {
    "points": Meant(("layer",), "1", "points a side of what the layer gives"),
    "h": Meant(("layer", "wavenumber"), ACTIVITY, "spectrum of what the layer gives (h)"),
    "g": Meant(
        ("layer", "wavenumber"),
        ACTIVITY,
        "spectrum of what the layer that it feeds is given (g); where none, the network's output",
    ),
    "positive": Meant(("layer",), "1", "share of points with h > 0"),
    "input": Meant(("channel", "wavenumber"), ACTIVITY, "spectrum of the network's inputs"),
}
"""Of activations/<run>; NaN for shells that a coarser grid does not have."""

EXAMPLE = {
    "pi_exact": Meant(("layer", "y", "x"), "1", "exact subgrid term"),
    "pi_base": Meant(("layer", "y", "x"), "1", "prediction of the base model"),
}
"""Of example_on_base; layers of the flow."""


def kernel_group(arrays: Mapping[str, AnyArray], kinds: Sequence[str], n: int) -> xr.Dataset:
    """One layer of one model that works on n × n points: those of KERNELS that there are."""
    single = {name: a.astype(np.float32) for name, a in arrays.items() if name != "kind"}
    group = _group(KERNELS, {**single, **({"kind": arrays["kind"]} if "kind" in arrays else {})})
    if "kind" in arrays:
        flags = {"flag_values": list(range(len(kinds))), "flag_meanings": " ".join(kinds)}
        group["kind"].attrs.update(flags)
    if "map" in arrays:
        group = _with_map_axes(group, arrays["map"].shape[-1], n)
    return _with_shells(group).assign_attrs(n=n)


def changes_group(
    models: Sequence[ModelKey], layers: Sequence[str], arrays: Mapping[str, FloatArray]
) -> xr.Dataset:
    """Changes by (model, layer): relative, spectral and null."""
    named = {
        "adaptation": np.array([key.kind for key in models]),
        "adapted_layers": np.array([layers_text(key.layers) for key in models]),
    }
    axes = {"model": [str(key) for key in models], "layer": list(layers)}
    return _group(CHANGES, {**arrays, **named}).assign_coords(axes)


def most_changed_group(arrays: Mapping[str, AnyArray], n: int) -> xr.Dataset:
    """The kernels of a model that changed most; maps on the network's grid of n × n points."""
    return _with_map_axes(_group(MOST_CHANGED, arrays), n, n)


def activation_group(
    layers: Sequence[str], channels: Sequence[str], arrays: Mapping[str, AnyArray]
) -> xr.Dataset:
    """Activation spectra of one run of a model over one system's samples."""
    axes = {"layer": list(layers), "channel": list(channels)}
    return _with_shells(_group(ACTIVATIONS, arrays).assign_coords(axes))


def example_group(exact: RealArray, predicted: RealArray) -> xr.Dataset:
    """One sample of the subgrid term, (layer, y, x), in physical units, and a prediction of it."""
    points = np.arange(exact.shape[-1]) * (BOX / exact.shape[-1])
    group = _group(EXAMPLE, {"pi_exact": exact, "pi_base": predicted})
    return group.assign_coords(y=points, x=points)


def write_analysis(
    path: Path,
    groups: Mapping[str, xr.Dataset],
    runs: Mapping[str, Run],
    attributes: Mapping[str, Attribute],
) -> None:
    """Write analysis.h5, whole or not at all. Not collective. Raises CannotWrite.

    attributes: provenance, `n`, `left_out` and `shift_error`.
    """
    named = {name: {"model": str(run.model), "system": run.system} for name, run in runs.items()}
    root: dict[str, Attribute] = {
        "format": FORMAT,
        "best": str(runs["best_on_target"].model) if "best_on_target" in runs else "",
        "runs": json.dumps(named),
    }
    write_tree(path, groups, {**attributes, **root})


def read_analysis(path: Path) -> xr.DataTree:
    """Read analysis.h5. Not collective. Raises CaseError if missing, damaged or of another kind."""
    return read_tree(path, "analysis", FORMAT)


def _group(meant: Mapping[str, Meant], arrays: Mapping[str, AnyArray]) -> xr.Dataset:
    """The arrays with what they mean, in the order of the table."""
    import xarray as xr

    unknown = arrays.keys() - meant.keys()
    assert not unknown, f"{unknown} is not in the table"
    return xr.Dataset(
        {
            name: (entry.dims, arrays[name], {"units": entry.units, "long_name": entry.meaning})
            for name, entry in meant.items()
            if name in arrays
        }
    )


def _with_shells(group: xr.Dataset) -> xr.Dataset:
    if "wavenumber" not in group.sizes:
        return group
    text = {"long_name": "wavenumber |k| of the shell"}
    shells = np.arange(float(group.sizes["wavenumber"]))
    return group.assign_coords(wavenumber=("wavenumber", shells, text))


def _with_map_axes(group: xr.Dataset, side: int, n: int) -> xr.Dataset:
    """Wavenumbers of maps of `side` points a side, in those of a grid of n."""
    k = np.arange(-(side // 2), side - side // 2) * (n / side)
    axes = {name: (name, k, {"long_name": f"wavenumber along {name[1]}"}) for name in ("ky", "kx")}
    return group.assign_coords(axes)
