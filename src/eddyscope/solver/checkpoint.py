"""Checkpoints: the whole state in one file, restartable on any number of ranks.

Written to a temporary file, synced and renamed; the newest `keep` stay. Every column of
every array has its checksum, and the file's metadata a seal, so that a damaged file is
known before it is used, and the one before it used instead.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from eddyscope.config.arrays import ComplexArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.parallel.failure import all_true
from eddyscope.spectral.transform import Transform
from eddyscope.storage.checked import checksum_name, checksums, read_checked
from eddyscope.storage.image import Image
from eddyscope.storage.layout import Group, Tree, Variable
from eddyscope.storage.opening import open_to_read
from eddyscope.storage.seal import is_sealed
from eddyscope.storage.shared_file import new_file

__all__ = ["CheckpointSettings", "Checkpoints"]

NAME = re.compile(r"step-(\d{10})\.h5")


class CheckpointSettings(Section):
    """`[checkpoint]`: how often the state is kept for a restart. Results do not depend on it."""

    seconds: Annotated[float, CHANGES_NO_RESULT] = Field(default=60.0, ge=0.0)
    """Least wall time between checkpoints; more where one takes over 2 % of that. 0: at every
    record of the diagnostics."""
    keep: Annotated[int, CHANGES_NO_RESULT] = Field(default=2, ge=2)
    """How many are kept; at least two, so that a damaged one does not end the run."""


class Checkpoints:
    """The checkpoints of one run in one folder. All calls collective."""

    def __init__(
        self, folder: Path, settings: CheckpointSettings, identity: str, transform: Transform
    ):
        self.folder = folder
        self.settings = settings
        self.identity = identity
        """Digest of what decides the run; a checkpoint of another run is not used."""
        self.transform = transform
        self.comm = transform.mesh.comm
        self.last = time.monotonic()
        self.cost = 0.0
        """Seconds that the last checkpoint took."""
        self.passed_over: list[Path] = []
        """Checkpoints that `load` found damaged, or of another run."""

    def due(self) -> bool:
        """Whether the interval has passed, as rank 0's clock has it."""
        seconds = self.settings.seconds
        wait = max(seconds, 50.0 * self.cost) if seconds > 0 else 0.0
        return bool(self.comm.bcast(time.monotonic() - self.last >= wait))

    def save(
        self, clock: Mapping[str, float], arrays: Mapping[str, ComplexArray], name: str = ""
    ) -> None:
        """Keep the state: spectral arrays by name, and the clock; `name` for a file apart."""
        began = time.monotonic()
        path = self.folder / (name or _name(int(clock["step"])))
        self._write(path, clock, arrays)
        self._prune()
        self.last = time.monotonic()
        self.cost = self.last - began

    def size(self, clock: Mapping[str, float], arrays: Mapping[str, ComplexArray]) -> int:
        """Bytes of one checkpoint's file. Not collective."""
        return Image(self._tree(clock, arrays)).sealed_size

    def _tree(self, clock: Mapping[str, float], arrays: Mapping[str, ComplexArray]) -> Tree:
        """The file of a checkpoint, each array with a checksum for each of its columns along ky:
        no rank holds part of one."""
        total = self.transform.spectral_total
        variables = {}
        for name, array in arrays.items():
            variables[name] = Variable((), shape=total, dtype=array.dtype)
            variables[checksum_name(name)] = Variable((), shape=total[:-1], dtype="uint64")
        times = {f"clock_{name}": value for name, value in clock.items()}
        return {"": Group(variables, {"identity": self.identity, **times})}

    def _write(
        self, path: Path, clock: Mapping[str, float], arrays: Mapping[str, ComplexArray]
    ) -> None:
        members, _, columns = (part.start for part in self.transform.spectral_block[:3])
        with new_file(path, self.comm, self._tree(clock, arrays)) as file:
            pieces = []
            for name, array in arrays.items():
                sums = checksums(array, 3)
                for member, layer in np.ndindex(*array.shape[:2]):
                    at = (members + member, layer, columns)
                    pieces.append(file.piece(name, at, array[member, layer]))
                    pieces.append(file.piece(checksum_name(name), at, sums[member, layer]))
            file.write(pieces)

    def load(
        self, clock: Mapping[str, float], arrays: Mapping[str, ComplexArray]
    ) -> dict[str, float] | None:
        """Fill `arrays` from the newest intact checkpoint; its clock, or None if there is none.

        `clock` names what a clock holds. What cannot be used is put on `passed_over` and
        removed, so that it is never taken for the newest again.
        """
        for path in self._newest_first():
            intact = self.comm.bcast(self.comm.rank == 0 and is_sealed(path))
            found = self._load_one(path, clock, arrays) if intact else None
            if all_true(self.comm, found is not None):
                return found
            self.passed_over.append(path)
            self._remove(path)
        return None

    def _load_one(
        self, path: Path, clock: Mapping[str, float], arrays: Mapping[str, ComplexArray]
    ) -> dict[str, float] | None:
        """This rank's part of one checkpoint; None if it is damaged or of another run."""
        block = self.transform.spectral_block
        try:
            with open_to_read(path, "checkpoint") as file:
                if file.attrs["identity"] != self.identity:
                    return None
                for name, array in arrays.items():
                    array[...] = read_checked(file, name, block[:3])
                found = {name: file.attrs[f"clock_{name}"].item() for name in clock}
                return found if path.name == _name(int(found["step"])) else None
        except (CaseError, KeyError, OSError, ValueError, TypeError, RuntimeError):
            return None

    def _newest_first(self) -> list[Path]:
        found: list[Path] = []
        if self.comm.rank == 0 and self.folder.is_dir():
            found = sorted(p for p in self.folder.iterdir() if NAME.fullmatch(p.name))
        return list(reversed(self.comm.bcast(found)))

    def _prune(self) -> None:
        for path in self._newest_first()[self.settings.keep :]:
            self._remove(path)

    def _remove(self, path: Path) -> None:
        if self.comm.rank == 0:
            path.unlink(missing_ok=True)


def _name(step: int) -> str:
    return f"step-{step:010d}.h5"
