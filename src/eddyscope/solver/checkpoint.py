"""Checkpoints: the whole state in one file, restartable on any number of ranks.

Written to a temporary file, synced and renamed; the newest `keep` stay. Every column of
every array has its checksum, and the file's metadata a seal, so that a damaged file is
known before it is used, and the one before it used instead.

Loading deletes nothing: a file that cannot be used is passed over, and it is said why. Only
files that this run wrote, or found sound, count as kept ones, and are removed when newer ones
replace them; the others stay until the run is begun afresh (`--fresh`).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from eddyscope.config import provenance
from eddyscope.config.arrays import AnyArray
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.units import SECONDS
from eddyscope.solver.simulation import Clock
from eddyscope.spectral.transform import Transform
from eddyscope.storage.checked import checksum_name, checksums, read_checked
from eddyscope.storage.image import LARGEST_FILE, Image
from eddyscope.storage.opening import open_to_read
from eddyscope.storage.seal import is_sealed
from eddyscope.storage.shared_file import new_file
from eddyscope.storage.variables import Group, Tree, Variable

__all__ = ["CheckpointSettings", "Checkpoints", "checkpoint_size"]

NAME = re.compile(r"step-(\d{10,})\.h5")

WAIT_FOR_COST = 50.0
"""Times what the last checkpoint took that pass before the next: 2 % of the wall time at most."""

ClockValues = Mapping[str, float]
"""What a clock holds, as `Clock.as_dict` gives it."""


Facts = Mapping[str, str | float]
"""The attributes of a checkpoint's file."""

Types = Mapping[str, np.dtype[Any]]
"""Name of an array of the state -> its type."""


class CheckpointSettings(Section):
    """`[checkpoint]`: how often the state is kept for a restart. Results do not depend on it."""

    seconds: Annotated[float, CHANGES_NO_RESULT, SECONDS] = Field(default=60.0, ge=0.0)
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
        self.passed_over: dict[Path, str] = {}
        """Checkpoints that `load` could not use, newest first, and why."""

    def due(self) -> bool:
        """Whether the interval has passed, as rank 0's clock has it."""
        seconds = self.settings.seconds
        wait = max(seconds, WAIT_FOR_COST * self.cost) if seconds > 0 else 0.0
        return bool(self.comm.bcast(time.monotonic() - self.last >= wait))

    def save(self, clock: ClockValues, arrays: Mapping[str, AnyArray], name: str = "") -> None:
        """Keep the state: spectral arrays by name, and the clock; `name` for a file apart."""
        began = time.monotonic()
        path = self.folder / (name or _name(int(clock["step"])))
        self._write(path, clock, arrays)
        self.passed_over.pop(path, None)  # what was there is replaced
        self._prune()
        self.last = time.monotonic()
        self.cost = self.last - began

    def _write(self, path: Path, clock: ClockValues, arrays: Mapping[str, AnyArray]) -> None:
        facts: Facts = {"identity": self.identity, **_clock_facts(clock)}
        arrays = {name: self.transform.to_host(array) for name, array in arrays.items()}
        types = {name: array.dtype for name, array in arrays.items()}
        tree = _tree(facts, types, self.transform.spectral_total)
        members, _, columns = (part.start for part in self.transform.spectral_block[:3])
        with new_file(path, self.comm, tree) as file:
            pieces = []
            for name, array in arrays.items():
                sums = checksums(array, 3)
                for member, layer in np.ndindex(*array.shape[:2]):
                    at = (members + member, layer, columns)
                    pieces.append(file.piece(name, at, array[member, layer]))
                    pieces.append(file.piece(checksum_name(name), at, sums[member, layer]))
            file.write(pieces)

    def load(
        self,
        clock: ClockValues,
        arrays: Mapping[str, AnyArray],
        unusable: Callable[[ClockValues], str] = lambda found: "",
    ) -> dict[str, float] | None:
        """Fill `arrays` from the newest checkpoint that can be used; its clock, or None.

        clock: names what a clock holds.
        unusable: why a checkpoint with this clock does not serve the run, if it does not; the
        same on all ranks.
        What is passed over goes to `passed_over` with the reason; nothing is removed.
        """
        self.passed_over.clear()
        for path in self._newest_first():
            reason = self.comm.bcast(_unsealed(path) if self.comm.rank == 0 else "")
            found: dict[str, float] = {}
            if not reason:
                found, reason = self._load_one(path, clock, arrays)
                reason = next(filter(None, self.comm.allgather(reason)), "")
            if not reason:
                reason = unusable(found)
            if not reason:
                return found
            self.passed_over[path] = reason
        return None

    def _load_one(
        self, path: Path, clock: ClockValues, arrays: Mapping[str, AnyArray]
    ) -> tuple[dict[str, float], str]:
        """This rank's part of one checkpoint: its clock, or why it cannot be used."""
        block = self.transform.spectral_block
        try:
            with open_to_read(path, "checkpoint") as file:
                if file.attrs["identity"] != self.identity:
                    return {}, "it is of another run"
                for name, array in arrays.items():
                    array[...] = self.transform.from_host(read_checked(file, name, block[:3]))
                found = {name: file.attrs[f"clock_{name}"].item() for name in clock}
        except (CaseError, KeyError, OSError, ValueError, TypeError, RuntimeError) as error:
            return {}, f"it cannot be read ({str(error).splitlines()[0]})"
        if path.name != _name(int(found["step"])):
            return {}, f"it is of step {found['step']}, and was renamed"
        return found, ""

    def _newest_first(self) -> list[Path]:
        steps: dict[Path, int] = {}
        if self.comm.rank == 0 and self.folder.is_dir():
            matches = ((path, NAME.fullmatch(path.name)) for path in self.folder.iterdir())
            steps = {path: int(match[1]) for path, match in matches if match}
        newest_first: list[Path] = sorted(steps, key=lambda path: steps[path], reverse=True)
        newest_first = self.comm.bcast(newest_first)
        return newest_first

    def _prune(self) -> None:
        """Remove the oldest of those that could be used, where there are more than are kept."""
        usable = [path for path in self._newest_first() if path not in self.passed_over]
        if self.comm.rank == 0:
            for path in usable[self.settings.keep :]:
                path.unlink(missing_ok=True)


def checkpoint_size(types: Types, total: tuple[int, ...]) -> int:
    """Bytes of one checkpoint's file: arrays by name and type, of the shape `total` on all ranks
    together. Nothing of that size is made. Not collective. CaseError where no file can hold it.
    """
    least = sum(math.prod(total) * dtype.itemsize for dtype in types.values())
    if least > LARGEST_FILE:
        raise CaseError(
            f"a checkpoint of {total[0]} members on {total[-1]} x {total[-1]} modes takes "
            f"{least / 2**60:.3g} EiB, more than any file can hold; lower "
            "ensemble.members or grid.n"
        )
    facts: Facts = {"identity": provenance.digest(""), **_clock_facts(Clock().as_dict())}
    return Image(_tree(facts, types, total)).sealed_size


def _clock_facts(clock: ClockValues) -> dict[str, float]:
    """The attributes that keep a clock."""
    return {f"clock_{name}": value for name, value in clock.items()}


def _tree(facts: Facts, types: Types, total: tuple[int, ...]) -> Tree:
    """The file of a checkpoint: each array with a checksum for each of its columns along ky, since
    no rank holds part of one."""
    variables = {}
    for name, dtype in types.items():
        variables[name] = Variable((), shape=total, dtype=dtype)
        variables[checksum_name(name)] = Variable((), shape=total[:-1], dtype="uint64")
    return {"": Group(variables, facts)}


def _unsealed(path: Path) -> str:
    """Why a file's metadata cannot be trusted, if it cannot. Not collective."""
    return "" if is_sealed(path) else "it is damaged, cut short, or not a checkpoint"


def _name(step: int) -> str:
    return f"step-{step:010d}.h5"
