"""Writing a dataset in parallel so that a kill at any moment leaves it readable.

The file is laid out whole and closed once (`create`). From then on only raw data is
overwritten in place (`DatasetWriter`): fields first, synced, then the sample's mark
`committed`, synced again. No metadata changes, so there is nothing to tear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.dataset import schema
from eddyscope.parallel.hdf5 import (
    Variable,
    allocate,
    create_file,
    open_for_update,
    write_block,
)
from eddyscope.parallel.reduce import largest
from eddyscope.spectral.grid import BOX

__all__ = ["CoarseFields", "DatasetWriter", "Layout", "checksum", "create"]

Fields = dict[str, NDArray[Any]]
"""psi, omega and pi of one member at one time, each of shape (y, x)."""

CoarseFields = Mapping[int, Mapping[int, Fields]]
"""Coarse grid n -> member -> its fields; a rank gives the members it owns."""


@dataclass(frozen=True)
class Layout:
    """The sizes and coordinates of a dataset."""

    members: int
    sample_times: tuple[float, ...]
    record_times: tuple[float, ...]
    n_shells: int
    grids: Mapping[int, float]
    """Coarse grid n -> filter width Δ."""
    dtype: str = "float32"
    full: int | None = None
    """Points a side of the unfiltered vorticity, if it is written too."""

    @property
    def samples(self) -> int:
        return len(self.sample_times)

    def sample_bytes(self) -> int:
        """Bytes of the fields of one sample of all members."""
        points = sum(n * n for n in self.grids) * len(schema.VARIABLES) + (self.full or 0) ** 2
        return self.members * points * np.dtype(self.dtype).itemsize


def create(path: Path, comm: Any, layout: Layout, attributes: Mapping[str, Any]) -> None:
    """Lay out an empty dataset at `path`, complete with coordinates. Collective."""
    with create_file(path, comm) as file:
        for key, value in {
            "format": schema.FORMAT,
            "sign_convention": schema.SIGN_CONVENTION,
            "Conventions": "CF-1.8",
            **attributes,
        }.items():
            file.attrs[key] = value
        for n, width in layout.grids.items():
            group = file.create_group(schema.group_name(n))
            group.attrs["n"] = n
            group.attrs["filter_width"] = width
            allocate(group, _grid_variables(layout, n))
        if layout.full is not None:
            allocate(file.create_group("full"), _full_variables(layout, layout.full))
        allocate(file.create_group("diagnostics"), _diagnostic_variables(layout))
        allocate(file.create_group("spectra"), _spectrum_variables(layout))


def _member_and_sample(layout: Layout) -> dict[str, Variable]:
    return {
        "member": Variable(("member",), np.arange(layout.members), long_name="ensemble member"),
        "sample": Variable(("sample",), np.arange(layout.samples), long_name="sample number"),
    }


def _grid_variables(layout: Layout, n: int) -> dict[str, Variable]:
    per_sample = (layout.members, layout.samples)
    dims = ("member", "sample")
    points = np.arange(n) * (BOX / n)
    times = np.broadcast_to(np.array(layout.sample_times), per_sample)
    fields = {
        name: Variable(
            (*dims, "y", "x"), long_name=text, shape=(*per_sample, n, n), dtype=layout.dtype
        )
        for name, text in schema.VARIABLES.items()
    }
    return {
        **_member_and_sample(layout),
        "y": Variable(("y",), points, long_name="coordinate y"),
        "x": Variable(("x",), points, long_name="coordinate x"),
        "time": Variable(dims, times, long_name="time of the sample"),
        "committed": Variable(
            dims, np.zeros(per_sample, "uint8"), long_name="1 once the sample is on the disk"
        ),
        "checksum": Variable(
            dims, np.zeros(per_sample, "uint64"), long_name="BLAKE2b-64 of psi, omega, pi"
        ),
        **fields,
    }


def _full_variables(layout: Layout, n: int) -> dict[str, Variable]:
    points = np.arange(n) * (BOX / n)
    return {
        **_member_and_sample(layout),
        "y": Variable(("y",), points, long_name="coordinate y"),
        "x": Variable(("x",), points, long_name="coordinate x"),
        "omega": Variable(
            ("member", "sample", "y", "x"),
            long_name="vorticity, unfiltered",
            shape=(layout.members, layout.samples, n, n),
            dtype=layout.dtype,
        ),
    }


def _diagnostic_variables(layout: Layout) -> dict[str, Variable]:
    records = len(layout.record_times)
    return {
        "member": _member_and_sample(layout)["member"],
        "record": Variable(("record",), np.arange(records), long_name="record number"),
        "time": Variable(("record",), np.array(layout.record_times), long_name="time"),
        **{
            name: Variable(
                ("member", "record"), np.full((layout.members, records), np.nan), long_name=text
            )
            for name, text in schema.DIAGNOSTICS.items()
        },
    }


def _spectrum_variables(layout: Layout) -> dict[str, Variable]:
    shape = (layout.members, layout.samples, layout.n_shells)
    return {
        **_member_and_sample(layout),
        "wavenumber": Variable(
            ("wavenumber",), np.arange(1.0, layout.n_shells + 1), long_name="wavenumber k"
        ),
        **{
            name: Variable(
                ("member", "sample", "wavenumber"), np.full(shape, np.nan), long_name=text
            )
            for name, text in schema.SPECTRA.items()
        },
    }


def checksum(fields: Mapping[str, NDArray[Any]]) -> int:
    """BLAKE2b-64 of a sample's psi, omega and pi, as they stand in the file."""
    hasher = hashlib.blake2b(digest_size=8)
    for name in schema.VARIABLES:
        hasher.update(np.ascontiguousarray(fields[name]).data)
    return int.from_bytes(hasher.digest(), "little")


class DatasetWriter:
    """Overwrites samples, spectra and diagnostics of a laid-out dataset. All calls collective."""

    def __init__(self, file: Any, layout: Layout, comm: Any):
        self.file = file
        self.layout = layout
        self.comm = comm

    @classmethod
    @contextmanager
    def opened(cls, path: Path, layout: Layout, comm: Any) -> Iterator[DatasetWriter]:
        """The writer of an existing dataset, open for the time of a `with` block. Collective."""
        with open_for_update(path, comm) as file:
            yield cls(file, layout, comm)

    def write_sample(
        self,
        sample: int,
        fields: CoarseFields,
        spectra: Mapping[int, Mapping[str, NDArray[Any]]],
        full: Mapping[int, NDArray[Any]] | None = None,
    ) -> None:
        """Write one sample of all members and commit it.

        fields: coarse grid -> member -> fields, of the members this rank owns.
        spectra: member -> name -> values over shells, likewise.
        full: member -> unfiltered vorticity (y, x), likewise, if the layout has it.
        """
        for n in self.layout.grids:
            self._write_fields(schema.group_name(n), sample, fields[n])
        if self.layout.full is not None:
            whole = (slice(None), slice(None))
            blocks = {
                m: ((m, sample, *whole), np.asarray(field, dtype=self.layout.dtype))
                for m, field in (full or {}).items()
            }
            self._write_each(self.file["full/omega"], blocks)
        for name in schema.SPECTRA:
            dataset = self.file[f"spectra/{name}"]
            self._write_each(
                dataset, {m: ((m, sample, slice(None)), s[name]) for m, s in spectra.items()}
            )
        self.file.flush()  # the data is on the disk before it is called committed
        for n in self.layout.grids:
            marks = {m: ((m, sample), np.ones((), "uint8")) for m in fields[n]}
            self._write_each(self.file[f"{schema.group_name(n)}/committed"], marks)
        self.file.flush()

    def write_record(self, record: int, members: slice, values: Mapping[str, NDArray[Any]]) -> None:
        """Write one record of the diagnostics of `members` (an empty slice: nothing)."""
        for name in schema.DIAGNOSTICS:
            empty = members.start == members.stop
            selection = None if empty else (members, record)
            write_block(
                self.file[f"diagnostics/{name}"], selection, None if empty else values[name]
            )

    def _write_fields(self, group: str, sample: int, members: Mapping[int, Fields]) -> None:
        dtype = self.layout.dtype
        rounded = {
            m: {name: np.ascontiguousarray(f[name], dtype=dtype) for name in schema.VARIABLES}
            for m, f in members.items()
        }
        for name in schema.VARIABLES:
            blocks = {
                m: ((m, sample, slice(None), slice(None)), f[name]) for m, f in rounded.items()
            }
            self._write_each(self.file[f"{group}/{name}"], blocks)
        sums = {m: ((m, sample), np.uint64(checksum(f))) for m, f in rounded.items()}
        self._write_each(self.file[f"{group}/checksum"], sums)

    def _write_each(self, dataset: Any, blocks: Mapping[int, tuple[Any, Any]]) -> None:
        """One collective write a member; ranks with fewer members take part with nothing."""
        most = int(largest(self.comm, len(blocks)))
        mine = list(blocks.values())
        for i in range(most):
            selection, data = mine[i] if i < len(mine) else (None, None)
            write_block(dataset, selection, None if data is None else np.asarray(data))
