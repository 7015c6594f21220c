"""Variables of an HDF5 file: named arrays with dims, units and long names, as xarray reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import h5py
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from eddyscope.config.arrays import AnyArray

__all__ = [
    "FORMAT_BOUNDS",
    "Attributes",
    "Group",
    "Parts",
    "Tree",
    "Variable",
    "allocate",
    "build",
]

FORMAT_BOUNDS = ("earliest", "v110")
"""Versions of HDF5's file format: readable by netCDF-4, and no consistency flag that a kill could
leave set."""

Attributes = Mapping[str, object]
"""Names and values, as far as HDF5 can store them."""

Parts = Callable[[], Iterator[AnyArray]]
"""An array's values, part after part in its order in memory."""


@dataclass(frozen=True)
class Variable:
    """A named array of an artefact: its dimensions' names, data, units and a long name.

    A variable whose only dimension has its own name is the coordinate of that dimension.
    Give `shape` and `dtype` instead of `data` to allocate it for later writing.
    """

    dims: tuple[str, ...]
    data: ArrayLike | None = None
    units: str = "1"
    long_name: str = ""
    shape: tuple[int, ...] = ()
    dtype: DTypeLike | None = None
    attributes: Attributes = field(default_factory=dict)
    initial: Parts | None = None
    """Values that an allocated array begins with; zeros without."""
    fixed: bool = False
    """Whether an allocated array keeps those values: the file's seal then covers it."""


@dataclass(frozen=True)
class Group:
    """Variables and attributes of a group."""

    variables: Mapping[str, Variable]
    attributes: Attributes = field(default_factory=dict)


Tree = Mapping[str, Group]
"""A file: name of a group ("" for the root) -> what is in it."""


def build(file: h5py.File, tree: Tree) -> None:
    """Create all that `tree` describes in an empty file."""
    for name, content in tree.items():
        group = file.create_group(name) if name else file
        for key, value in content.attributes.items():
            group.attrs[key] = value
        allocate(group, content.variables)


def allocate(group: h5py.Group, variables: Mapping[str, Variable]) -> None:
    """Create `variables` in `group` with dimension scales that xarray reads.

    Data given is written; the rest is allocated and left unwritten.
    """
    for name, variable in variables.items():
        dataset = _dataset(group, name, variable)
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


def _dataset(group: h5py.Group, name: str, variable: Variable) -> h5py.Dataset:
    """A new dataset with its data, or with its bytes allocated."""
    if variable.data is not None:
        data = np.asarray(variable.data)
        if data.dtype.kind == "U":
            data = data.astype(h5py.string_dtype())
        return group.create_dataset(name, data=data)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    # Written once by us: filling at creation would write every byte twice.
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # so that the same run gives the same bytes
    space = h5py.h5s.create_simple(variable.shape)
    kind = h5py.h5t.py_create(np.dtype(variable.dtype), logical=True)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, properties))


def _find_scale(group: h5py.Group, dim: str) -> h5py.Dataset | None:
    """The coordinate called `dim` in this group or the nearest one around it."""
    while True:
        if dim in group and isinstance(group[dim], h5py.Dataset) and group[dim].is_scale:
            return group[dim]
        if group.name == "/":
            return None
        group = group.parent
