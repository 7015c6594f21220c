"""Writing a dataset in parallel so that a kill at any moment leaves it readable.

The file is laid out whole, sealed and closed once (`create`). From then on only raw data is
overwritten in place (`DatasetWriter`): fields and their checksums first, synced, then the sample's
mark `committed`. No metadata changes, so there is nothing to tear.

Samples wait in memory until several of them are written together: a file system takes one
long piece of a member's samples much faster than many short ones, and one wait for the disk
serves them all, while the run goes on. Only the first is committed at once, to show that it
can be. A run that is killed takes up again from its checkpoint, before which all that waits is
committed, so waiting loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.layout import Layout, tree_of
from eddyscope.config.arrays import AnyArray, CoarseFields, RealArray
from eddyscope.parallel.failure import NotFinite, all_true
from eddyscope.parallel.reduce import largest
from eddyscope.parallel.world import Comm
from eddyscope.storage.atomic import write_on_root
from eddyscope.storage.checked import checksum_name, checksums
from eddyscope.storage.drivers.base import DriverSettings, Piece, SharedFile
from eddyscope.storage.image import Image
from eddyscope.storage.seal import restore
from eddyscope.storage.shared_file import DIRECT, lay_out, open_to_overwrite
from eddyscope.storage.variables import Attributes

__all__ = ["DatasetWriter", "Layout", "capacity", "create", "mend", "size"]

WAITING = 2**25
"""Bytes of samples that a rank keeps in memory before they are written, at the most; one sample
where that is larger."""

Spectra = Mapping[int, Mapping[str, RealArray]]
"""Member -> name -> values over shells; a rank gives the members it owns."""


def capacity(layout: Layout, owned: int) -> int:
    """How many samples may wait to be written, where no rank gives more than `owned` members."""
    together = WAITING // (layout.member_bytes() * owned)
    return max(1, min(layout.samples, together))


def create(path: Path, comm: Comm, layout: Layout, attributes: Attributes) -> None:
    """Lay out an empty dataset at `path`, complete with coordinates. Raises CannotWrite, and
    CaseError for a layout that no file can hold. Collective."""
    lay_out(path, comm, tree_of(layout, attributes))


def mend(path: Path, comm: Comm) -> None:
    """Seal an unfinished dataset again, where a kill took its seal: HDF5's own driver cuts it off
    for a moment when it closes the file. Raises CannotWrite. Collective."""
    write_on_root(path, comm, lambda: restore(path))


def size(layout: Layout, attributes: Attributes) -> int:
    """Bytes of the dataset's file. CaseError where no file can hold it. Not collective."""
    return Image(tree_of(layout, attributes)).sealed_size


class DatasetWriter:
    """Overwrites samples, spectra and diagnostics of a laid-out dataset."""

    def __init__(self, file: SharedFile, layout: Layout, owned: Sequence[int]):
        """`owned`: the members whose samples this rank gives. Collective."""
        self.layout = layout
        self._file = file
        self._owned = owned
        self._capacity = capacity(layout, int(largest(file.comm, len(owned))))
        """Samples that can wait."""
        places = {name: file.places[name] for name in self._sampled()}
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
        self._records: list[tuple[int, AnyArray]] = []
        """What waits of the diagnostics: number of the record, values (member, diagnostic)."""

    @classmethod
    @contextmanager
    def opened(
        cls,
        path: Path,
        layout: Layout,
        comm: Comm,
        owned: Sequence[int],
        driver: DriverSettings = DIRECT,
    ) -> Iterator[DatasetWriter]:
        """The writer of an existing dataset, open for the time of a `with` block, at whose end
        all that waits is written. driver: settings of an entry of STORAGE_DRIVERS. Collective.

        An error in the block leaves what waits unwritten: other ranks may know nothing of it.
        """
        with open_to_overwrite(path, comm, driver) as file:
            writer = cls(file, layout, owned)
            yield writer
            writer.commit()

    def add_sample(
        self,
        sample: int,
        fields: CoarseFields,
        spectra: Spectra,
        full: Mapping[int, RealArray] | None = None,
    ) -> None:
        """Keep one sample of all members, to be written with others. Collective.

        fields: coarse grid -> member -> fields, of the members this rank owns.
        spectra: member -> name -> values over shells, likewise.
        full: member -> unfiltered vorticity (layer, y, x), likewise, if the layout has it.
        Raises NotFinite where a number is not finite in the dataset's precision; the sample
        is then not kept.
        """
        if self._count == self._capacity or sample != self._first + self._count:
            self._write_waiting()
        if self._count == 0:
            self._first = sample
        with np.errstate(over="ignore"):  # what is too large for the precision is found infinite
            finite = self._keep(self._count, fields, spectra, full)
        if not all_true(self._file.comm, finite):
            precision = self.layout.dtype
            raise NotFinite(f"the fields of sample {sample} are not finite in {precision}")
        self._count += 1
        if not self._proven:
            self.commit()
            self._proven = True

    def _keep(
        self, at: int, fields: CoarseFields, spectra: Spectra, full: Mapping[int, RealArray] | None
    ) -> bool:
        """Put a sample, as for `add_sample`, where it waits; whether all of it is finite."""
        finite = True
        for i, m in enumerate(self._owned):
            given = {f"spectra/{name}": spectra[m][name] for name in self._spectra}
            for n in self.layout.grids:
                group = schema.group_name(n)
                given |= {f"{group}/{name}": fields[n][m][name] for name in self.layout.fields}
            if full is not None:
                given["full/omega"] = full[m]
            for name, values in given.items():
                finite = self._put(name, (i, at), values) and finite
        return finite

    def _put(self, name: str, at: tuple[int, int], values: RealArray) -> bool:
        """Put one array of a sample where it waits, in the dataset's precision, with its
        checksums; whether all of it is finite there."""
        kept, sums = self._waiting[name][at], self._waiting[checksum_name(name)]
        np.copyto(kept, np.reshape(values, kept.shape), casting="same_kind")
        sums[at] = checksums(kept, sums.ndim - len(at))
        return bool(np.isfinite(kept).all())

    def add_record(self, record: int, members: slice, values: Mapping[str, RealArray]) -> None:
        """Keep one record of the diagnostics of `members`, to be written with others. Not
        collective.

        Records come in order and without gaps.
        """
        self._members = members
        numbers = np.stack([values[name] for name in schema.DIAGNOSTICS], axis=-1)
        self._records.append((record, numbers.astype(np.float64)))

    def commit(self) -> None:
        """Bring all that waits, records too, to the disk; samples marked as committed.
        Collective."""
        self._write_waiting()
        if self._unmarked:
            self._mark()
        self._file.sync()

    def _write_waiting(self) -> None:
        """Give what waits to the system, which brings it to the disk meanwhile. Collective."""
        if self._unmarked:
            self._mark()
        samples = [
            self._file.piece(name, (m, self._first), array[i, : self._count])
            for name, array in self._waiting.items()
            for i, m in enumerate(self._owned)
        ]
        self._file.write(samples + self._record_pieces())
        if self._count:
            self._file.begin_sync()
        self._unmarked = range(self._first, self._first + self._count)
        self._count = 0

    def _mark(self) -> None:
        """Mark as committed what is written, once it is on the disk. Collective.

        After a power cut a mark may be missing, but none is there without its data.
        """
        self._file.sync()
        marks = np.ones(len(self._unmarked), "uint8")
        groups = [schema.group_name(n) for n in self.layout.grids]
        self._file.write(
            [
                self._file.piece(f"{group}/committed", (m, self._unmarked.start), marks)
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
        numbers = np.stack([of_record for _, of_record in records], axis=1)
        arrays = {name: numbers[..., i] for i, name in enumerate(schema.DIAGNOSTICS)}
        arrays[schema.RECORD_CHECKSUM] = checksums(numbers, 2)
        return [
            self._file.piece(f"diagnostics/{name}", (member, first), lines[i])
            for name, lines in arrays.items()
            for i, member in enumerate(range(self._members.start, self._members.stop))
        ]

    @property
    def _spectra(self) -> list[str]:
        """The spectra that each sample has."""
        return list(schema.SPECTRA) if self.layout.n_shells else []

    def _sampled(self) -> list[str]:
        """The arrays that a sample has a part of."""
        groups = [schema.group_name(n) for n in self.layout.grids]
        arrays = [f"{group}/{name}" for group in groups for name in self.layout.fields]
        arrays += [f"spectra/{name}" for name in self._spectra]
        if self.layout.full is not None:
            arrays.append("full/omega")
        return [each for name in arrays for each in (name, checksum_name(name))]
