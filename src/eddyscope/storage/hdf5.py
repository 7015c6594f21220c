"""HDF5 files: safe small artefacts, large ones laid out, checked opening.

HDF5 itself always runs on one rank alone; what all ranks write together goes into a laid-out
file by MPI-IO (`storage/raw_data.py`). Rules held here so that no one else needs to know them:
  * small artefacts are written by rank 0 to a temporary file, synced and renamed, so a
    kill leaves the old file or the new one, never half of one;
  * files that grow large are laid out whole, with all their room on the disk, before any
    data goes in (`lay_out`), so that a full disk is an ordinary error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import DTypeLike, NDArray

from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import CannotWrite
from eddyscope.storage.image import LIBVER, Image
from eddyscope.storage.seal import is_broken, seal

__all__ = [
    "Variable",
    "fsync_folder",
    "lay_out",
    "open_to_read",
    "replace_file",
    "write_artefact",
]


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


def lay_out(path: Path, comm: MPI.Intracomm, build: Build) -> None:
    """A new file at `path`, laid out and sealed by rank 0, with all its room on the disk, for its
    raw data (`storage/raw_data.py`). Raises CannotWrite on all ranks. Collective."""
    temporary = path.with_name(path.name + ".tmp")
    check_folder(path.parent, comm)

    def work() -> None:
        Image(build).save(temporary)
        seal(temporary)
        replace_file(temporary, path)

    write_on_root(path, comm, work)


def write_on_root(path: Path, comm: MPI.Intracomm, write: Callable[[], None]) -> None:
    """Do `write`, of `path` by way of its temporary file, on rank 0; an OSError of it becomes a
    CannotWrite on all ranks. Collective."""
    problem: CannotWrite | None = None
    if comm.rank == 0:
        try:
            write()
        except OSError as error:
            problem = cannot_write(path, error)
    problem = comm.bcast(problem)
    if problem is not None:
        raise problem


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The error that users see when `path` could not be written; its temporary file is removed."""
    with suppress(OSError):
        path.with_name(path.name + ".tmp").unlink(missing_ok=True)
    reason = error.strerror or str(error)
    return CannotWrite(
        f"{path}: cannot be written ({reason}); free space there and call again to go on from "
        "what is kept, or choose another folder with --out"
    )


def free_space(folder: Path) -> int:
    """Bytes that this user may still write where `folder` is, or would be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def space_taken(path: Path) -> int:
    """Bytes on the disk that a file, or the files of a folder, take."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(512 * file.stat().st_blocks for file in files if file.is_file())


@contextmanager
def open_to_read(path: Path, what: str = "HDF5 file") -> Iterator[h5py.File]:
    """An existing file, opened by this rank alone. CaseError if it is missing or damaged."""
    if is_broken(path):
        raise CaseError(f"{path}: the metadata of this {what} is damaged: make it again")
    try:
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise CaseError(f"{path}: no such {what}") from None
    except OSError as error:
        reason = str(error).strip()
        raise CaseError(
            f"{path}: not a readable {what} ({reason}); "
            "it may be cut short or damaged: make it again"
        ) from None
    with file:
        yield file


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
    temporary = path.with_name(path.name + ".tmp")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(temporary, "w", libver=LIBVER) as file:
        for key, value in attributes.items():
            file.attrs[key] = value
        for name, variables in tree.items():
            allocate(file.require_group(name) if name.strip("/") else file, variables)
    replace_file(temporary, path)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` by `content`, whole or not at all. Not collective.

    Raises CannotWrite."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        replace_file(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from None


def replace_file(temporary: Path, path: Path) -> None:
    """Sync `temporary` to the disk and rename it to `path`. Not collective."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` last, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems cannot sync a folder; the rename itself still holds
    finally:
        os.close(handle)


def check_folder(folder: Path, comm: MPI.Intracomm) -> None:
    """Make `folder` on rank 0; CaseError on all ranks if it cannot be written. Collective."""
    problem = None
    if comm.rank == 0:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                problem = "not writable"
        except OSError as error:
            problem = error.strerror or str(error)
    problem = comm.bcast(problem)
    if problem is not None:
        raise CaseError(
            f"{folder}: cannot write here ({problem}); choose another folder with --out"
        )


def attribute_texts(names: Sequence[str]) -> NDArray[Any]:
    """Names as an array that h5py stores as variable-length UTF-8."""
    return np.array(list(names), dtype=h5py.string_dtype())
