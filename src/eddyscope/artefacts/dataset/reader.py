"""Reading a dataset: checked once when opened, then slices of what is committed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.writer import checksum
from eddyscope.config.errors import CaseError
from eddyscope.storage.opening import open_to_read

__all__ = ["Dataset"]


class Dataset:
    """A dataset on the disk. Opens the file anew for each read, so nothing is held open.

    Not collective: every rank may read what it needs.
    """

    def __init__(self, path: str | Path):
        """Check the file's format and conventions. Raises CaseError."""
        self.path = Path(path)
        with open_to_read(self.path, "dataset") as file:
            found = _text(file.attrs.get("format"))
            if found != schema.FORMAT:
                raise CaseError(
                    f"{path}: not an eddyscope dataset (format {found!r}, expected "
                    f"{schema.FORMAT!r}); make one with `eddyscope dns`"
                )
            convention = _text(file.attrs.get("sign_convention"))
            if convention != schema.SIGN_CONVENTION:
                raise CaseError(
                    f"{path}: sign convention is {convention!r}, but this code uses "
                    f"{schema.SIGN_CONVENTION!r}; convert psi and pi, or make the dataset again"
                )
            self.attributes: dict[str, Any] = {k: _plain(v) for k, v in file.attrs.items()}
            groups = [g for g in file if "filter_width" in file[g].attrs]
            self.filter_width = {
                int(file[g].attrs["n"]): float(file[g].attrs["filter_width"]) for g in groups
            }
            first = file[groups[0]]
            self.members, self.samples = (int(length) for length in first["committed"].shape)
            committed = [file[g]["committed"][()] for g in groups]
            self.committed: NDArray[np.bool_] = np.all(np.array(committed) == 1, axis=0)
            self.time: NDArray[np.float64] = first["time"][()]
            digest = hashlib.sha256()
            for g in groups:
                digest.update(file[g]["checksum"][()].tobytes())
            self.digest = digest.hexdigest()
        self.case: dict[str, Any] = json.loads(self.attributes["case"])
        self.system: str = self.attributes["system"]

    @property
    def grids(self) -> list[int]:
        """The coarse grids' n, smallest first."""
        return sorted(self.filter_width)

    @property
    def complete(self) -> bool:
        """Whether every sample is committed."""
        return bool(self.committed.all())

    @property
    def parts(self) -> dict[str, range]:
        """Members that train, validate and test, as the dataset's case splits them."""
        section = self.case[self.system]["ensemble"]
        return schema.EnsembleSettings.model_validate(section).parts

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
    ) -> NDArray[Any]:
        """Field `name` on grid `n`, axes (member, sample, y, x)."""
        members = range(self.members) if members is None else members
        with open_to_read(self.path, "dataset") as file:
            dataset = file[f"{schema.group_name(n)}/{name}"]
            blocks = [dataset[m, samples] for m in members]
        if not blocks:
            return np.empty((0, 0, n, n), dtype="float32")
        return np.stack(blocks)

    def spectra(self) -> dict[str, NDArray[Any]]:
        """`wavenumber`, and spectra of the unfiltered flow, axes (member, sample, wavenumber)."""
        return self._group("spectra", ("wavenumber", *schema.SPECTRA))

    def diagnostics(self) -> dict[str, NDArray[Any]]:
        """`time` and the diagnostics, axes (member, record)."""
        return self._group("diagnostics", ("time", *schema.DIAGNOSTICS))

    def _group(self, group: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        with open_to_read(self.path, "dataset") as file:
            return {name: file[group][name][()] for name in names}

    def verify(self) -> list[tuple[int, int, int]]:
        """(n, member, sample) of every committed sample whose bytes do not match its checksum."""
        damaged = []
        with open_to_read(self.path, "dataset") as file:
            for n in self.grids:
                group = file[schema.group_name(n)]
                for m, s in np.argwhere(self.committed):
                    fields = [group[name][m, s] for name in schema.VARIABLES]
                    if checksum(fields) != int(group["checksum"][m, s]):
                        damaged.append((n, int(m), int(s)))
        return damaged


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _plain(value: Any) -> Any:
    value = _text(value)
    return value.item() if isinstance(value, np.generic) else value
