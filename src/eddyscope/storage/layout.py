"""Variables of an HDF5 file: named arrays with dims, units and long names, as xarray reads them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.image import LIBVER

__all__ = ["Build", "Variable", "allocate", "attribute_texts", "write_artefact"]


@dataclass(frozen=True)
class Variable:
    """A named array of an artefact: its dimensions' names, data, units and a long name.

    A variable whose only dimension has its own name is the coordinate of that dimension.
    Give `shape` and `dtype` instead of `data` to allocate it for later writing.
    """

    dims: tuple[str, ...]
    data: Any = None
    units: str = "1"
    long_name: str = ""
    shape: tuple[int, ...] = ()
    dtype: DTypeLike | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


Build = Callable[[h5py.File], None]
"""Creates the groups, datasets and attributes of a new file."""


def allocate(group: h5py.Group, variables: Mapping[str, Variable]) -> None:
    """Create `variables` in `group` with dimension scales that xarray reads.

    Data given is written; the rest is allocated and left unwritten.
    """
    for name, variable in variables.items():
        data = variable.data
        if data is not None:
            data = np.asarray(data)
            if data.dtype.kind == "U":
                data = data.astype(h5py.string_dtype())
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if data is None:
            # Written once by us: filling at creation would write every byte twice.
            properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            properties.set_obj_track_times(False)  # so that the same run gives the same bytes
            shape = variable.shape
            dtype = np.dtype(variable.dtype)
            space = h5py.h5s.create_simple(shape)
            kind = h5py.h5t.py_create(dtype, logical=True)
            dataset = h5py.Dataset(
                h5py.h5d.create(group.id, name.encode(), kind, space, properties)
            )
        else:
            dataset = group.create_dataset(name, data=data)
        dataset.attrs["units"] = variable.units
        if variable.long_name:
            dataset.attrs["long_name"] = variable.long_name
        for key, value in variable.attributes.items():
            dataset.attrs[key] = value
    for name, variable in variables.items():
        if variable.dims == (name,):
            group[name].make_scale(name)
    for name, variable in variables.items():
        if variable.dims == (name,):
            continue
        for axis, dim in enumerate(variable.dims):
            scale = _find_scale(group, dim)
            if scale is not None:
                group[name].dims[axis].attach_scale(scale)


def _find_scale(group: h5py.Group, dim: str) -> h5py.Dataset | None:
    """The coordinate called `dim` in this group or the nearest one around it."""
    while True:
        if dim in group and isinstance(group[dim], h5py.Dataset) and group[dim].is_scale:
            return group[dim]
        if group.name == "/":
            return None
        group = group.parent


def write_artefact(
    path: Path,
    groups: Mapping[str, Mapping[str, Variable]] | Mapping[str, Variable],
    attributes: Mapping[str, Any],
) -> None:
    """Write a small, complete artefact atomically. Not collective: call it on one rank.

    `groups` maps a group's name ("" or "/" for the root) to its variables, or is the
    root's variables themselves.
    """
    first: Any = next(iter(groups.values()), None)
    tree: Any = {"": groups} if isinstance(first, Variable) else groups
    content = io.BytesIO()
    with h5py.File(content, "w", libver=LIBVER) as file:
        for key, value in attributes.items():
            file.attrs[key] = value
        for name, variables in tree.items():
            allocate(file.require_group(name) if name.strip("/") else file, variables)
    write_atomically(path, content.getvalue())


def attribute_texts(names: Sequence[str]) -> NDArray[Any]:
    """Names as an array that h5py stores as variable-length UTF-8."""
    return np.array(list(names), dtype=h5py.string_dtype())
