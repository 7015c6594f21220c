"""Small artefacts: groups of named arrays in one HDF5 file, by xarray, whole or not at all.

    write_tree(path, {"": xr.Dataset(…), "n064": xr.Dataset(…)}, {"format": "advice 1"})
    tree = read_tree(path, "advice")                     # an xarray.DataTree, loaded
    xr.open_dataset(path, group="n064")                  # as any netCDF-4 file

The bytes are made in memory and written as any file is: HDF5 ends the program with a
segmentation fault where it cannot write a file that it has open. The same groups give the same
bytes: h5netcdf writes no times. A seal (`storage/seal.py`) covers every byte, so that no damage
goes unnoticed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file
from eddyscope.storage.atomic import write_atomically
from eddyscope.storage.seal import Seal, seal_of, sealed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Attribute", "read_tree", "write_tree"]

Attribute = str | int | float | bool | list[str] | list[int] | list[float]
"""What an attribute may be; a truth value is stored as 0 or 1."""

ENGINE: Final = "h5netcdf"


def write_tree(
    path: Path, groups: Mapping[str, xr.Dataset], attributes: Mapping[str, Attribute]
) -> None:
    """Write a small, complete artefact, whole or not at all. Not collective: on one rank.

    groups: group's name ("" for the root, "a/b" for a group in a group) -> its arrays. A dim
    has the same length, and coordinate, in a group as in those around it. Names are arrays of
    str. A variable without `units` gets "1".
    attributes: of the file.
    Raises CannotWrite.
    """
    write_atomically(path, sealed(_content(groups, attributes)))


def _content(groups: Mapping[str, xr.Dataset], attributes: Mapping[str, Attribute]) -> bytes:
    """The bytes of the HDF5 file, without a seal."""
    import xarray as xr

    named = {"/" + name.strip("/"): _plain(group) for name, group in groups.items()}
    root = named.get("/", xr.Dataset()).assign_attrs(_stored(attributes))
    tree = xr.DataTree.from_dict({"/": root, **{k: v for k, v in named.items() if k != "/"}})
    return bytes(tree.to_netcdf(engine=ENGINE))


def _plain(group: xr.Dataset) -> xr.Dataset:
    """A copy with units everywhere, and without the fill values that xarray adds of itself."""
    plain = group.copy(deep=False).assign_attrs(_stored(group.attrs))
    for variable in plain.variables.values():
        variable.attrs = {"units": "1", **_stored(variable.attrs)}
        variable.encoding = {"_FillValue": None}
    return plain


def _stored(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes in types that netCDF has."""
    return {
        name: int(value) if isinstance(value, bool | np.bool_) else value
        for name, value in attributes.items()
    }


def read_tree(path: Path, what: str = "artefact", form: str = "") -> xr.DataTree:
    """An artefact that `write_tree` made, verified and loaded. Not collective.

    what: what it is, for messages; form: the attribute `format` that it must have, if any.
    Raises CaseError where it is missing, damaged, foreign or of another format.
    """
    require_file(path, what)
    try:
        content = _verified(path, what)
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error.strerror or error})") from None
    import xarray as xr

    with xr.open_datatree(io.BytesIO(content), engine=ENGINE, decode_times=False) as tree:
        found = tree.attrs.get("format", "")
        if form and found != form:
            raise CaseError(
                f"{path}: not {what} of this program (format {str(found)!r}, expected {form!r}): "
                "make it again with --fresh"
            )
        return tree.load()


def _verified(path: Path, what: str) -> bytes:
    """The bytes of a file with an unbroken seal; CaseError for any other."""
    found = seal_of(path)
    if found is Seal.BROKEN:
        raise CaseError(f"{path}: this {what} is damaged: make it again")
    content = path.read_bytes()
    if found is Seal.ABSENT:
        raise CaseError(
            f"{path}: not {what} of this program, or cut short, or changed by another program: "
            "make it again"
        )
    return content
