"""Datasets as xarray has them."""

from __future__ import annotations

import os

import xarray as xr

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.config.errors import CaseError
from eddyscope.config.files import as_path
from eddyscope.storage.opening import REMAKE

__all__ = ["open_dataset"]


def open_dataset(path: str | os.PathLike[str], verify: bool = True) -> xr.DataTree:
    """A dataset.h5 as an xarray.DataTree: a group "n064" with psi, omega and pi, axes (member,
    sample, y, x), for each coarse grid, and the groups "spectra" and "diagnostics".

    Arrays are read when they are used. Metadata are checked against the file's seal always;
    verify: also compare every committed sample with its checksum, which reads the file once whole.
    Raises CaseError where it is missing, damaged or no dataset.

    >>> import eddyscope
    >>> data = eddyscope.open_dataset("runs/quickstart/target/dataset.h5")
    >>> data["n032"].pi.sel(member=0).dims
    ('sample', 'y', 'x')
    """
    dataset = Dataset(as_path(path))
    damaged = dataset.verify() if verify else []
    if damaged:
        n, member, sample = damaged[0]
        raise CaseError(
            f"{path}: {len(damaged)} samples are damaged, the first is grid {n}, member {member}, "
            f"sample {sample}: {REMAKE}"
        )
    options = {"locking": False}  # as the rest of this package opens it, at the same time
    return xr.open_datatree(
        as_path(path), engine="h5netcdf", decode_times=False, driver_kwds=options
    )
