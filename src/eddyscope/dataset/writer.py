"""Writing a dataset in parallel so that a kill at any moment leaves it readable.

The file is laid out whole and closed once (`create`). From then on only raw data is
overwritten in place (`DatasetWriter`): fields first, synced, then the sample's mark
`committed`. No metadata changes, so there is nothing to tear.
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
from eddyscope.parallel.failure import all_true
from eddyscope.parallel.hdf5 import (
    Variable,
    allocate,
    lay_out,
    open_for_update,
    write_block,
)
from eddyscope.parallel.image import Image
from eddyscope.spectral.grid import BOX

__all__ = ["CoarseFields", "DatasetWriter", "Layout", "checksum", "create", "size"]

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
    lay_out(path, comm, lambda file: _build(file, layout, attributes))


def size(layout: Layout, attributes: Mapping[str, Any]) -> int:
    """Bytes of the dataset's file. Not collective."""
    return Image(lambda file: _build(file, layout, attributes)).size


def _build(file: Any, layout: Layout, attributes: Mapping[str, Any]) -> None:
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
        self._records: list[tuple[int, dict[str, NDArray[Any]]]] = []
        self._members = slice(0, 0)

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
        self.write_records()
        for n in self.layout.grids:
            self._write_fields(schema.group_name(n), sample, fields[n])
        if self.layout.full is not None:
            self._write_members("full/omega", sample, full or {}, self.layout.dtype)
        for name in schema.SPECTRA:
            values = {m: s[name] for m, s in spectra.items()}
            self._write_members(f"spectra/{name}", sample, values)
        self.file.flush()  # the data is on the disk before it is called committed
        for n in self.layout.grids:
            marks = {m: np.uint8(1) for m in fields[n]}
            self._write_members(f"{schema.group_name(n)}/committed", sample, marks)
        # The marks reach the disk with the next sample or the file's end: until then a
        # power cut may lose a mark, but never leave one without its data.

    def holds(
        self,
        fields: CoarseFields,
        spectra: Mapping[int, Mapping[str, NDArray[Any]]],
        full: Mapping[int, NDArray[Any]] | None = None,
    ) -> bool:
        """Whether every number of a sample, as for `write_sample`, is finite in the dataset's
        precision. Collective."""
        rounded = [a for members in fields.values() for f in members.values() for a in f.values()]
        rounded += (full or {}).values()
        kept = [a for s in spectra.values() for a in s.values()]
        limit = np.finfo(self.layout.dtype).max
        # A NaN is not below the limit either.
        fits = all(np.abs(a).max(initial=0.0) <= limit for a in rounded)
        return all_true(self.comm, fits and all(bool(np.isfinite(a).all()) for a in kept))

    def add_record(self, record: int, members: slice, values: Mapping[str, NDArray[Any]]) -> None:
        """Keep one record of the diagnostics of `members` until `write_records`. Not collective.

        Records come in order and without gaps.
        """
        self._members = members
        self._records.append((record, {name: values[name].copy() for name in schema.DIAGNOSTICS}))

    def write_records(self) -> None:
        """Write the records kept since the last call: before what comes after them is kept."""
        records, self._records = self._records, []
        empty = not records or self._members.start == self._members.stop
        for name in schema.DIAGNOSTICS:
            selection, data = None, None
            if not empty:
                selection = (self._members, slice(records[0][0], records[-1][0] + 1))
                data = np.stack([values[name] for _, values in records], axis=1)
            write_block(self.file[f"diagnostics/{name}"], selection, data)

    def _write_fields(self, group: str, sample: int, members: Mapping[int, Fields]) -> None:
        rounded = {
            m: {name: np.asarray(f[name], dtype=self.layout.dtype) for name in schema.VARIABLES}
            for m, f in members.items()
        }
        for name in schema.VARIABLES:
            self._write_members(f"{group}/{name}", sample, {m: f[name] for m, f in rounded.items()})
        sums = {m: np.uint64(checksum(f)) for m, f in rounded.items()}
        self._write_members(f"{group}/checksum", sample, sums)

    def _write_members(
        self, name: str, sample: int, members: Mapping[int, Any], dtype: str | None = None
    ) -> None:
        """One collective write of a sample of the members this rank owns, evenly spaced ones."""
        dataset = self.file[name]
        if not members:
            write_block(dataset, None, None)
            return
        numbers = list(members)
        step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
        rest = (slice(None),) * (dataset.ndim - 2)
        selection = (slice(numbers[0], numbers[-1] + 1, step), sample, *rest)
        write_block(dataset, selection, np.stack([np.asarray(v, dtype) for v in members.values()]))
