"""Arrays in files of other programs: HDF5, NetCDF 3 and 4, .npy and .npz, MATLAB's .mat.

    with Foreign.opened(path) as file:
        array = file.array("psi")
        array.shape, array.dims            # (10, 64, 64), ("time", "y", "x")
        array.read((3,))                   # a part of it, as the file means it

What such a file is, its bytes say, not its name. Of most only what is asked for is read; an array
of an .npz file, or of a .mat file older than 7.3, is read whole, once. (.mat files of 7.3 are HDF5,
which has MATLAB's axes in the opposite order.) NetCDF's `scale_factor`, `add_offset`, `_FillValue`
and `missing_value` are applied, and its default for what was never written: what is missing is not
a number. Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike
from scipy.io import loadmat, netcdf_file, whosmat
from scipy.io.matlab import MatReadError

from eddyscope.config.arrays import AnyArray
from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.config.files import require_file
from eddyscope.config.words import shortened
from eddyscope.storage.opening import plain

__all__ = ["Foreign", "ForeignArray"]

UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, MemoryError,
              NotImplementedError, zipfile.BadZipFile, zlib.error, MatReadError)  # fmt: skip
"""What libraries raise on files that they cannot read."""

ONLY_DIMENSION = "This is a netCDF dimension but not a netCDF variable"
"""Begins the name of HDF5's stand-in for a dimension without coordinates."""

PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset")
"""NetCDF's attributes that say what stored numbers mean."""

UNWRITTEN = 9.969209968386869e36
"""NetCDF's default for floating-point numbers, single and double, that were never written."""

SHOWN = 12
"""Names that are listed in messages."""

Index = tuple[int | slice, ...]
"""Of the first axes of an array."""


@dataclass(frozen=True)
class ForeignArray:
    """An array in an open file."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    """As it is stored."""
    dims: tuple[str, ...]
    """The axes' names in the file; "" where it names none."""
    get: Callable[[Index], AnyArray]
    attributes: Mapping[str, ArrayLike] = field(default_factory=dict)

    def read(self, index: Index = ()) -> AnyArray:
        """A part of it, in this machine's byte order; float64 where NetCDF packed it. CaseError
        where it cannot be read."""
        with _refused(self.path):
            values = np.asarray(self.get((*index, ...)))  # type: ignore[arg-type]
            return self._meant(values.astype(values.dtype.newbyteorder("="), copy=False))

    def _meant(self, values: AnyArray) -> AnyArray:
        """Unpacked, as NetCDF's conventions say."""
        found = self.attributes
        missing = [found[key] for key in ("_FillValue", "missing_value") if key in found]
        gone = np.isin(values, np.concatenate([np.ravel(m) for m in missing])) if missing else None
        if "scale_factor" in found or "add_offset" in found:
            scale, offset = (
                float(np.ravel(found.get(key, default))[0])
                for key, default in (("scale_factor", 1.0), ("add_offset", 0.0))
            )
            values = values * scale + offset
        if values.dtype.kind == "f":
            unwritten = values == UNWRITTEN
            gone = unwritten if gone is None else gone | unwritten
        if gone is not None and gone.any():
            values = np.where(gone, np.nan, values)
        return values


@dataclass(frozen=True)
class Foreign:
    """An open file: its arrays' full names, and how each is got."""

    path: Path
    names: list[str]
    get: Callable[[str], ForeignArray]

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Foreign]:
        """Open it for the time of a `with` block. CaseError where it is missing or cannot be read.
        Not collective."""
        require_file(path, "data file")
        with _refused(path):
            opener = _opener(path)
        if opener is None:
            raise CaseError(
                f"{path}: not a data file that can be read; give HDF5, NetCDF, .npy, .npz or .mat"
            )
        with opener(path) as file:
            yield file

    def array(self, name: str) -> ForeignArray:
        """CaseError where there is none of that name."""
        if name not in self.names:
            hint = did_you_mean(name, self.names)
            raise CaseError(
                f"{self.path}: no variable {name!r}; {hint + ' ' if hint else ''}"
                f"it has {listed(self.names)}"
            )
        with _refused(self.path):
            return self.get(name)


def listed(names: Sequence[str]) -> str:
    """The names of variables, for messages."""
    return shortened(names, SHOWN) or "none"


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """A library's errors become a CaseError."""
    try:
        yield
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CaseError(
            f"{path}: cannot be read ({reason}); it may be cut short, damaged, or of a kind that "
            "is not known here: give HDF5, NetCDF, .npy, .npz or .mat with arrays of numbers"
        ) from None


def _opener(path: Path) -> Callable[[Path], AbstractContextManager[Foreign]] | None:
    """How the file is opened, told by its bytes; None where it is of no kind known here."""
    with open(path, "rb") as file:
        head = file.read(32)
    kinds = {
        b"\x93NUMPY": _npy,
        b"PK\x03\x04": _npz,
        b"CDF\x01": _netcdf3,
        b"CDF\x02": _netcdf3,
        b"MATLAB 5.0 MAT-file": _mat,
    }
    found = next((kind for begins, kind in kinds.items() if head.startswith(begins)), None)
    return found or (_hdf5 if h5py.is_hdf5(path) else None)


# --- HDF5, and NetCDF 4, which is HDF5 ---------------------------------------------------------


@contextmanager
def _hdf5(path: Path) -> Iterator[Foreign]:
    with _refused(path):
        file = h5py.File(path, "r", locking=False)
    with file:
        names: list[str] = []

        def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and item.shape is not None and not _stands_in(item):
                names.append(name)

        with _refused(path):
            file.visititems(note)
        yield Foreign(path, names, lambda name: _hdf5_array(path, file[name]))


def _hdf5_array(path: Path, data: h5py.Dataset) -> ForeignArray:
    attributes = {key: data.attrs[key] for key in PACKING if key in data.attrs}
    dims = tuple(_hdf5_dim(data, axis) for axis in range(data.ndim))
    return ForeignArray(path, data.shape, data.dtype, dims, data.__getitem__, attributes)


def _stands_in(data: h5py.Dataset) -> bool:
    """Whether it is only there for a dimension that has no coordinates."""
    return str(plain(data.attrs.get("NAME", ""))).startswith(ONLY_DIMENSION)


def _hdf5_dim(data: h5py.Dataset, axis: int) -> str:
    """The name of an axis: its label, or that of its scale."""
    dim = data.dims[axis]
    if dim.label:
        return str(dim.label)
    if len(dim):
        return str(dim[0].name).rpartition("/")[2]
    return str(data.name).rpartition("/")[2] if data.is_scale and data.ndim == 1 else ""


# --- NetCDF 3 ----------------------------------------------------------------------------------


@contextmanager
def _netcdf3(path: Path) -> Iterator[Foreign]:
    with _refused(path):
        file = netcdf_file(path, "r", mmap=True)
    try:

        def array(name: str) -> ForeignArray:
            one = file.variables[name]
            attributes = {k: v for k, v in one._attributes.items() if k in PACKING}

            def get(index: Index) -> AnyArray:
                # A copy: what refers to the mapped file would keep it open.
                return np.array(file.variables[name].data[index])

            return ForeignArray(path, one.shape, one.data.dtype, one.dimensions, get, attributes)

        yield Foreign(path, list(file.variables), array)
    finally:
        file.close()


# --- MATLAB up to 7.2 --------------------------------------------------------------------------


@contextmanager
def _mat(path: Path) -> Iterator[Foreign]:
    whole: dict[str, AnyArray] = {}

    def array(name: str) -> ForeignArray:
        if name not in whole:
            whole[name] = np.asarray(loadmat(path, variable_names=[name])[name])
        data = whole[name]
        return ForeignArray(path, data.shape, data.dtype, ("",) * data.ndim, data.__getitem__)

    with _refused(path):
        names = [name for name, _shape, _kind in whosmat(path)]
    yield Foreign(path, names, array)


# --- numpy -------------------------------------------------------------------------------------


@contextmanager
def _npy(path: Path) -> Iterator[Foreign]:
    with _refused(path):
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    unnamed = ("",) * data.ndim
    array = ForeignArray(path, data.shape, data.dtype, unnamed, lambda index: np.array(data[index]))
    yield Foreign(path, [""], lambda _: array)


@contextmanager
def _npz(path: Path) -> Iterator[Foreign]:
    whole: dict[str, AnyArray] = {}

    def array(name: str) -> ForeignArray:
        shape, dtype = _header(file.zip, name)

        def get(index: Index) -> AnyArray:
            if name not in whole:
                whole[name] = file[name]
            return whole[name][index]

        return ForeignArray(path, shape, dtype, ("",) * len(shape), get)

    with open(path, "rb") as content:  # opened here: numpy would leave a damaged file open
        with _refused(path):
            file = np.load(content, allow_pickle=False)
        yield Foreign(path, list(file.files), array)


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of an array of an .npz file; the array stays on the disk."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = reader(file)
    return shape, dtype
