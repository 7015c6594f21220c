"""Reading a dataset: its conventions checked once when opened, and all that is read verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.layout import Box
from eddyscope.artefacts.dataset.split import Parts
from eddyscope.config.arrays import AnyArray, BoolArray, FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.storage.checked import Checked, checksum_name, checksums, read_checked
from eddyscope.storage.opening import REMAKE, OpenFile, OpenGroup, open_to_read, plain
from eddyscope.storage.seal import footer_of

__all__ = ["Dataset", "Read", "Source"]

Read = Callable[[str, int, slice], AnyArray]
"""Reads samples of a member: called with the field's name, the member and which samples, gives
(sample, layer, y, x)."""

PROVENANCE = (
    "code_version", "library_versions", "case_hash", "case_name", "command", "sources",
)  # fmt: skip
"""Attributes that nothing is computed from: the dataset's digest leaves them out."""

OF_HDF5 = ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME")
"""Attributes by which HDF5 ties coordinates to arrays, by places in the file: left out too."""


class Dataset:
    """A dataset on the disk. Opens the file anew for each read, so nothing is held open.

    Metadata, coordinates and times are covered by the file's seal, everything else by checksums:
    a reader verifies what it reads, and raises CaseError where that is damaged.
    Not collective: every rank may read what it needs.
    """

    def __init__(self, path: str | Path, split: Any = None):
        """Check the file's format and conventions. Raises CaseError.

        split: of the samples, in place of the dataset's own; an entry's settings of SPLITS."""
        self.path = Path(path)
        with self._opened() as file:
            self._check_conventions(file)
            self.attributes: dict[str, Any] = {k: plain(v) for k, v in file.attrs.items()}
            groups = [g for g in file if "filter_width" in file[g].attrs]
            self.filter_width = {
                int(file[g].attrs["n"]): float(file[g].attrs["filter_width"]) for g in groups
            }
            self.points = {
                int(file[g].attrs["n"]): (len(file[g]["y"]), len(file[g]["x"])) for g in groups
            }
            """Coarse grid n -> its points along (y, x): n of both, but of imported fields."""
            first = file[groups[0]]
            self.members, self.samples = (int(length) for length in first["committed"].shape)
            self.layers = len(first["layer"]) if "layer" in first else 1
            self.fields = [name for name in first if checksum_name(name) in first]
            committed = [file[g]["committed"][()] for g in groups]
            self.committed: BoolArray = np.all(np.array(committed) == 1, axis=0)
            self.time: FloatArray = first["time"][()]
        self.case: dict[str, Any] = json.loads(self.attributes["case"])
        self.system: str = self.attributes["system"]
        self._split = split

    @cached_property
    def digest(self) -> str:
        """Of all that a reader may use; told by the file as it is when first asked for."""
        with self._opened() as file:
            return _digest(file)

    @contextmanager
    def _opened(self) -> Iterator[OpenFile]:
        """The open file. CaseError where it has no seal: nothing vouches for its metadata then,
        and HDF5 may crash on it."""
        if self.path.is_file() and not footer_of(self.path):
            raise CaseError(
                f"{self.path}: not a readable dataset (it has no seal: not an eddyscope dataset, "
                "or cut short, or changed by another program, or its run was killed as it ended); "
                "`eddyscope import` makes one of arrays, `eddyscope dns` mends its own that "
                "was killed; make any other again"
            )
        with open_to_read(self.path, "dataset") as file:
            yield file

    def _check_conventions(self, file: OpenFile) -> None:
        found = plain(file.attrs.get("format"))
        if found != schema.FORMAT:
            raise CaseError(
                f"{self.path}: not an eddyscope dataset (format {found!r}, expected "
                f"{schema.FORMAT!r}); make one with `eddyscope dns`"
            )
        convention = plain(file.attrs.get("sign_convention"))
        if convention != schema.SIGN_CONVENTION:
            raise CaseError(
                f"{self.path}: sign convention is {convention!r}, but this code uses "
                f"{schema.SIGN_CONVENTION!r}; convert psi and pi, or make the dataset again"
            )

    @property
    def grids(self) -> list[int]:
        """The coarse grids' n, smallest first."""
        return sorted(self.filter_width)

    @property
    def viscosity(self) -> float | None:
        """ν of the flow, in units of the box; None where the file says none."""
        value = self.attributes.get(schema.VISCOSITY)
        return None if value is None else float(value)

    @property
    def box(self) -> Box:
        """The domain of its fields."""
        return Box.of(self.attributes)

    @property
    def spectral(self) -> bool:
        """Whether its fields are periodic in a square box, on as many points along y as along x:
        what spectra by shells are of."""
        square = self.box.length[0] == self.box.length[1]
        return (
            all(self.box.periodic) and square and all(ny == nx for ny, nx in self.points.values())
        )

    @property
    def complete(self) -> bool:
        """Whether every sample is committed."""
        return bool(self.committed.all())

    @cached_property
    def ensemble(self) -> schema.EnsembleSettings:
        """How many members and samples it has, and what they are for."""
        own = schema.EnsembleSettings.model_validate(self.case[self.system]["ensemble"])
        return own if self._split is None else own.model_copy(update={"split": self._split})

    @property
    def parts(self) -> Parts:
        """What trains, validates and tests."""
        return self.ensemble.parts

    def count(self, part: str) -> int:
        """Samples of a part."""
        return self.ensemble.count(part)

    def has(self, records: int, samples: int) -> bool:
        """Whether the first `records` of the diagnostics and `samples` of every member are there:
        what a run has written when it goes on from there."""
        energy = self.diagnostics()["energy"][:, :records]
        return bool(np.isfinite(energy).all() and self.committed[:, :samples].all())

    def require(self, n: int, *parts: str) -> None:
        """Raise CaseError unless grid `n` is there, all is committed, and `parts` have members."""
        if n not in self.filter_width:
            raise CaseError(f"{self.path}: no grid of n = {n}; it has {self.grids}")
        if not self.complete:
            raise CaseError(
                f"{self.path}: {int(self.committed.sum())} of {self.committed.size} samples are "
                f"committed; finish it with `eddyscope dns --system {self.system}`"
            )
        for part in parts:
            if not self.parts[part]:
                raise CaseError(
                    f"{self.path}: no members for {part}; raise {self.system}.ensemble.members "
                    f"(now {self.members}) or set {self.system}.ensemble.split"
                )

    def read(
        self,
        n: int,
        name: str,
        members: Sequence[int] | None = None,
        samples: slice = slice(None),
    ) -> AnyArray:
        """Field `name` on grid `n`, axes (member, sample, layer, y, x), verified.

        CaseError where a part of it is damaged or not committed."""
        with self.reading(n) as read:
            return np.stack([read(name, m, samples) for m in self._members(members)])

    def read_full(
        self, members: Sequence[int] | None = None, samples: slice = slice(None)
    ) -> AnyArray:
        """The unfiltered vorticity, as `read`. CaseError where it was not written."""
        with self._reading("full") as read:
            return np.stack([read("omega", m, samples) for m in self._members(members)])

    @contextmanager
    def reading(self, n: int) -> Iterator[Read]:
        """Reads of grid `n` from a file that stays open, by one thread at a time; what is read is
        verified, and CaseError where it is damaged or not committed."""
        with self._reading(schema.group_name(n)) as read:
            yield read

    @contextmanager
    def _reading(self, group: str) -> Iterator[Read]:
        with self._opened() as file:
            known: dict[str, Checked] = {}

            def read(name: str, member: int, samples: slice) -> AnyArray:
                if not self.committed[member, samples].all():
                    raise CaseError(
                        f"{self.path}: samples are asked for that are not committed; finish it "
                        f"with `eddyscope dns --system {self.system}`"
                    )
                if name not in known:
                    if group not in file or name not in file[group]:
                        raise CaseError(f"{self.path}: has no {group}/{name}")
                    known[name] = Checked(file[group], name, often=True)
                values = known[name].read((member, samples))
                return values.reshape(len(values), self.layers, *values.shape[-2:])

            yield read

    def _members(self, chosen: Sequence[int] | None) -> Sequence[int]:
        return range(self.members) if chosen is None else chosen

    def spectra(self) -> dict[str, AnyArray]:
        """`wavenumber`, and spectra of the unfiltered flow, axes (member, sample, wavenumber),
        verified; not a number where a sample is not committed. No wavenumbers where the dataset
        has no spectra, as an imported one may."""
        with self._opened() as file:
            if "spectra" not in file:
                none = np.empty((self.members, self.samples, 0))
                return {"wavenumber": np.empty(0), **dict.fromkeys(schema.SPECTRA, none)}
            group = file["spectra"]
            found: dict[str, AnyArray] = {"wavenumber": group["wavenumber"][()]}
            for name in schema.SPECTRA:
                values, sums = group[name][()], group[checksum_name(name)][()]
                self._require_intact(f"spectra/{name}", sums, checksums(values, 2), self.committed)
                found[name] = np.where(self.committed[..., None], values, np.nan)
        return found

    def diagnostics(self) -> dict[str, AnyArray]:
        """`time` and the diagnostics, axes (member, record), verified; of an unfinished dataset
        not a number where a record is not written whole. No records where the dataset has no
        diagnostics, as an imported one may."""
        with self._opened() as file:
            if "diagnostics" not in file:
                none = np.empty((self.members, 0))
                return {"time": np.empty(0), **dict.fromkeys(schema.DIAGNOSTICS, none)}
            group = file["diagnostics"]
            time, sums = group["time"][()], group[schema.RECORD_CHECKSUM][()]
            values = np.stack([group[name][()] for name in schema.DIAGNOSTICS], axis=-1)
        right = checksums(values, 2)
        if self.complete:
            self._require_intact("diagnostics", sums, right, np.ones_like(sums, bool))
        known = np.where((sums == right)[..., None], values, np.nan)
        return {"time": time, **{k: known[..., i] for i, k in enumerate(schema.DIAGNOSTICS)}}

    def _require_intact(
        self, what: str, stored: AnyArray, right: AnyArray, wanted: BoolArray
    ) -> None:
        """Raise CaseError where checksums differ among those that are wanted."""
        wrong = np.argwhere(wanted & (stored != right))
        if len(wrong):
            raise CaseError(
                f"{self.path}: {what} is damaged ({len(wrong)} of {right.size} blocks, the first "
                f"at {tuple(wrong[0].tolist())}): {REMAKE}"
            )

    def verify(self) -> list[tuple[int, int, int]]:
        """(n, member, sample) of every committed sample with a damaged field."""
        damaged = []
        with self._opened() as file:
            for n in self.grids:
                group = file[schema.group_name(n)]
                for m, s in np.argwhere(self.committed).tolist():
                    if not all(_intact(group, name, (m, s)) for name in self.fields):
                        damaged.append((n, m, s))
        return damaged


@dataclass(frozen=True)
class Source:
    """A dataset on the disk, and the ensemble that a case takes it for."""

    path: Path
    ensemble: schema.EnsembleSettings

    def open(self) -> Dataset:
        """CaseError where it cannot be read, or is another ensemble. Not collective."""
        dataset, wanted = Dataset(self.path, self.ensemble.split), self.ensemble
        if (dataset.members, dataset.samples) != (wanted.members, wanted.samples):
            raise CaseError(
                f"{self.path}: {dataset.members} members x {dataset.samples} samples, but the case "
                f"says {wanted.members} x {wanted.samples}; make it again, or correct the case"
            )
        return dataset


def _intact(group: OpenGroup, name: str, index: tuple[int, ...]) -> bool:
    try:
        read_checked(group, name, index)
    except CaseError:
        return False
    return True


def _digest(file: OpenFile) -> str:
    """Of all that a reader may use: attributes, coordinates, times, checksums, marks."""
    digest = hashlib.sha256()

    def add(name: str, item: Any) -> None:
        left_out = (*PROVENANCE, *OF_HDF5)
        told = {k: str(plain(v)) for k, v in item.attrs.items() if k not in left_out}
        digest.update(json.dumps([name, told], sort_keys=True).encode())
        if hasattr(item, "shape") and (name.endswith("checksum") or not _checked(item)):
            digest.update(np.ascontiguousarray(item[()]).data)

    add("", file)
    file.visititems(add)
    return digest.hexdigest()


def _checked(array: Any) -> bool:
    """Whether checksums stand for an array's values."""
    name = array.name.split("/")[-1]
    return checksum_name(name) in array.parent or (
        schema.RECORD_CHECKSUM in array.parent and name in schema.DIAGNOSTICS
    )
