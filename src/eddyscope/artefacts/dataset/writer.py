"""Writing a dataset in parallel so that a kill at any moment leaves it readable.

The file is laid out whole, sealed and closed once (`create`). From then on only raw data is
overwritten in place (`DatasetWriter`): fields first, synced, then the sample's mark
`committed`. No metadata changes, so there is nothing to tear.

Samples wait in memory until several of them are written together: a file system takes one
long piece of a member's samples much faster than many short ones, and one wait for the disk
serves them all, while the run goes on. Only the first is committed at once, to show that it
can be. A run that is killed takes up again from its checkpoint, before which all that waits is
committed, so waiting loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from eddyscope.artefacts.dataset import schema
from eddyscope.parallel.failure import NotFinite, all_true
from eddyscope.parallel.reduce import largest
from eddyscope.spectral.grid import BOX
from eddyscope.storage.image import Image
from eddyscope.storage.layout import Variable, allocate
from eddyscope.storage.raw_data import Piece, RawData, lay_out

__all__ = ["CoarseFields", "DatasetWriter", "Layout", "capacity", "checksum", "create", "size"]

WAITING = 2**25
"""Bytes of samples that a rank keeps in memory before they are written, at the most; one sample
where that is larger."""

Fields = dict[str, NDArray[Any]]
"""psi, omega and pi of one member at one time, each of shape (y, x)."""

CoarseFields = Mapping[int, Mapping[int, Fields]]
"""Coarse grid n -> member -> its fields; a rank gives the members it owns."""


@dataclass(frozen=True)
class Layout:
    """The sizes and coordinates of a dataset."""

    members: int
    sample_times: Sequence[float]
    record_times: Sequence[float]
    n_shells: int
    grids: Mapping[int, float]
    """Coarse grid n -> filter width Δ."""
    dtype: str = "float32"
    full: int | None = None
    """Points a side of the unfiltered vorticity, if it is written too."""

    @property
    def samples(self) -> int:
        return len(self.sample_times)

    def member_bytes(self) -> int:
        """Bytes of the fields of one sample of one member."""
        points = sum(n * n for n in self.grids) * len(schema.VARIABLES) + (self.full or 0) ** 2
        return points * np.dtype(self.dtype).itemsize

    def sample_bytes(self) -> int:
        """Bytes of the fields of one sample of all members."""
        return self.members * self.member_bytes()


def capacity(layout: Layout, owned: int, comm: Any) -> int:
    """How many samples may wait to be written, where this rank gives `owned` members; the same
    on all ranks. Collective."""
    most = int(largest(comm, owned))
    together = WAITING // (layout.member_bytes() * most)
    return max(1, min(layout.samples, together))


def create(path: Path, comm: Any, layout: Layout, attributes: Mapping[str, Any]) -> None:
    """Lay out an empty dataset at `path`, complete with coordinates. Collective."""
    lay_out(path, comm, lambda file: _build(file, layout, attributes))


def size(layout: Layout, attributes: Mapping[str, Any]) -> int:
    """Bytes of the dataset's file. Not collective."""
    return Image(lambda file: _build(file, layout, attributes)).sealed_size


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
            dims, np.zeros(per_sample, "uint64"), long_name="XXH3-64 of psi, omega, pi"
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


def checksum(fields: Iterable[NDArray[Any]]) -> int:
    """XXH3-64 of a sample's psi, omega and pi, as they stand in the file."""
    hasher = xxhash.xxh3_64()
    for field in fields:
        hasher.update(np.ascontiguousarray(field).data)
    return hasher.intdigest()


def _round(values: NDArray[Any], out: NDArray[Any]) -> bool:
    """Copy to the precision of `out`; whether all is finite there."""
    np.copyto(out, values, casting="same_kind")
    return bool(np.isfinite(out).all())


class DatasetWriter:
    """Overwrites samples, spectra and diagnostics of a laid-out dataset."""

    def __init__(self, data: RawData, layout: Layout, owned: Sequence[int]):
        """`owned`: the members whose samples this rank gives. Collective."""
        self.layout = layout
        self._data = data
        self._owned = owned
        self._capacity = capacity(layout, len(owned), data.comm)
        """Samples that can wait."""
        places = {name: data.places[name] for name in self._sampled()}
        self._waiting = {
            name: np.empty((len(owned), self._capacity, *place.shape[2:]), place.dtype)
            for name, place in places.items()
        }
        """What waits of each sampled array, axes (member owned, sample, …)."""
        self._first = 0
        """The first sample that waits."""
        self._count = 0
        """How many wait."""
        self._unmarked = range(0)
        """Samples that are written, but not marked as committed yet."""
        self._proven = False
        """Whether a sample was written: the first is at once, to learn early what cannot be."""
        self._members = slice(0, 0)
        self._records: list[tuple[int, dict[str, NDArray[Any]]]] = []

    @classmethod
    @contextmanager
    def opened(
        cls, path: Path, layout: Layout, comm: Any, owned: Sequence[int]
    ) -> Iterator[DatasetWriter]:
        """The writer of an existing dataset, open for the time of a `with` block, at whose end
        all that waits is written. Collective.

        An error in the block leaves what waits unwritten: other ranks may know nothing of it.
        """
        with RawData.opened(path, comm) as data:
            writer = cls(data, layout, owned)
            yield writer
            writer.commit()

    def add_sample(
        self,
        sample: int,
        fields: CoarseFields,
        spectra: Mapping[int, Mapping[str, NDArray[Any]]],
        full: Mapping[int, NDArray[Any]] | None = None,
    ) -> None:
        """Keep one sample of all members, to be written with others. Collective.

        fields: coarse grid -> member -> fields, of the members this rank owns.
        spectra: member -> name -> values over shells, likewise.
        full: member -> unfiltered vorticity (y, x), likewise, if the layout has it.
        Raises NotFinite where a number is not finite in the dataset's precision; the sample
        is then not kept.
        """
        if self._count == self._capacity or sample != self._first + self._count:
            self._write_waiting()
        if self._count == 0:
            self._first = sample
        with np.errstate(over="ignore"):  # what is too large for the precision is found infinite
            finite = self._keep(self._count, fields, spectra, full)
        if not all_true(self._data.comm, finite):
            precision = self.layout.dtype
            raise NotFinite(f"the fields of sample {sample} are not finite in {precision}")
        self._count += 1
        if not self._proven:
            self.commit()
            self._proven = True

    def _keep(
        self,
        at: int,
        fields: CoarseFields,
        spectra: Mapping[int, Mapping[str, NDArray[Any]]],
        full: Mapping[int, NDArray[Any]] | None,
    ) -> bool:
        """Put a sample, as for `add_sample`, where it waits; whether all of it is finite."""
        finite = []
        for n in self.layout.grids:
            group = schema.group_name(n)
            arrays = {v: self._waiting[f"{group}/{v}"] for v in schema.VARIABLES}
            sums = self._waiting[f"{group}/checksum"]
            for i, m in enumerate(self._owned):
                rounded = [array[i, at] for array in arrays.values()]
                finite += [
                    _round(fields[n][m][v], field) for v, field in zip(arrays, rounded, strict=True)
                ]
                sums[i, at] = checksum(rounded)
        for i, m in enumerate(self._owned):
            for name in schema.SPECTRA:
                finite.append(_round(spectra[m][name], self._waiting[f"spectra/{name}"][i, at]))
            if full is not None:
                finite.append(_round(full[m], self._waiting["full/omega"][i, at]))
        return all(finite)

    def add_record(self, record: int, members: slice, values: Mapping[str, NDArray[Any]]) -> None:
        """Keep one record of the diagnostics of `members`, to be written with others. Not
        collective.

        Records come in order and without gaps.
        """
        self._members = members
        self._records.append((record, {name: values[name].copy() for name in schema.DIAGNOSTICS}))

    def commit(self) -> None:
        """Bring all that waits, records too, to the disk; samples marked as committed.
        Collective."""
        self._write_waiting()
        if self._unmarked:
            self._mark()
        self._data.sync()

    def _write_waiting(self) -> None:
        """Give what waits to the system, which brings it to the disk meanwhile. Collective."""
        if self._unmarked:
            self._mark()
        samples = [
            self._data.piece(name, (m, self._first), array[i, : self._count])
            for name, array in self._waiting.items()
            for i, m in enumerate(self._owned)
        ]
        self._data.write(samples + self._record_pieces())
        if self._count:
            self._data.begin_sync()
        self._unmarked = range(self._first, self._first + self._count)
        self._count = 0

    def _mark(self) -> None:
        """Mark as committed what is written, once it is on the disk. Collective.

        After a power cut a mark may be missing, but none is there without its data.
        """
        self._data.sync()
        marks = np.ones(len(self._unmarked), "uint8")
        groups = [schema.group_name(n) for n in self.layout.grids]
        self._data.write(
            [
                self._data.piece(f"{group}/committed", (m, self._unmarked.start), marks)
                for group in groups
                for m in self._owned
            ]
        )
        self._unmarked = range(0)

    def _record_pieces(self) -> list[Piece]:
        records, self._records = self._records, []
        if not records:
            return []
        first = records[0][0]
        pieces = []
        for name in schema.DIAGNOSTICS:
            lines = np.stack([values[name] for _, values in records], axis=1)
            for i, member in enumerate(range(self._members.start, self._members.stop)):
                pieces.append(self._data.piece(f"diagnostics/{name}", (member, first), lines[i]))
        return pieces

    def _sampled(self) -> list[str]:
        """The arrays that a sample has a part of."""
        groups = [schema.group_name(n) for n in self.layout.grids]
        fields = [f"{g}/{name}" for g in groups for name in (*schema.VARIABLES, "checksum")]
        full = ["full/omega"] if self.layout.full is not None else []
        return [*fields, *full, *(f"spectra/{name}" for name in schema.SPECTRA)]
