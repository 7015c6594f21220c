"""Checkpoints: the whole state in one file, restartable on any number of ranks.

Written to a temporary file, synced and renamed; the newest `keep` stay. Every column of
every array has its checksum, and the file's metadata a seal, so that a damaged file is
known before it is used, and the one before it used instead.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.parallel.failure import all_true
from eddyscope.spectral.transform import Transform
from eddyscope.storage.image import Image
from eddyscope.storage.layout import Variable, allocate
from eddyscope.storage.opening import open_to_read
from eddyscope.storage.raw_data import new_file
from eddyscope.storage.seal import is_sealed

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
        self, clock: Mapping[str, float], arrays: Mapping[str, NDArray[Any]], name: str = ""
    ) -> None:
        """Keep the state: spectral arrays by name, and the clock; `name` for a file apart."""
        began = time.monotonic()
        path = self.folder / (name or _name(int(clock["step"])))
        self._write(path, clock, arrays)
        self._prune()
        self.last = time.monotonic()
        self.cost = self.last - began

    def size(self, clock: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]) -> int:
        """Bytes of one checkpoint's file. Not collective."""
        return Image(lambda file: self._lay_out(file, clock, arrays)).sealed_size

    def _lay_out(
        self, file: Any, clock: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        total = self.transform.spectral_total
        file.attrs["identity"] = self.identity
        for name, value in clock.items():
            file.attrs[f"clock_{name}"] = value
        variables = {}
        for name, array in arrays.items():
            variables[name] = Variable((), shape=total, dtype=array.dtype)
            variables[f"{name}_checksum"] = Variable((), shape=total[:3], dtype="uint32")
        allocate(file, variables)

    def _write(
        self, path: Path, clock: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        members, _, columns = (part.start for part in self.transform.spectral_block[:3])
        with new_file(path, self.comm, lambda file: self._lay_out(file, clock, arrays)) as data:
            pieces = []
            for name, array in arrays.items():
                sums = _column_checksums(array)
                for member, layer in np.ndindex(*array.shape[:2]):
                    at = (members + member, layer, columns)
                    pieces.append(data.piece(name, at, array[member, layer]))
                    pieces.append(data.piece(f"{name}_checksum", at, sums[member, layer]))
            data.write(pieces)

    def load(
        self, clock: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
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
        self, path: Path, clock: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, float] | None:
        """This rank's part of one checkpoint; None if it is damaged or of another run."""
        block = self.transform.spectral_block
        try:
            with open_to_read(path, "checkpoint") as file:
                if file.attrs["identity"] != self.identity:
                    return None
                for name, array in arrays.items():
                    array[...] = file[name][block]
                    sums = file[f"{name}_checksum"][block[:3]]
                    if not np.array_equal(sums, _column_checksums(array)):
                        return None
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


def _column_checksums(array: NDArray[Any]) -> NDArray[np.uint32]:
    """CRC-32 of each column along ky, axes (member, layer, kx): no rank holds part of one."""
    sums = np.empty(array.shape[:3], dtype=np.uint32)
    for index in np.ndindex(*sums.shape):
        sums[index] = zlib.crc32(array[index].data)
    return sums
