"""Filling a dataset with what an import makes, sample by sample, members dealt to the ranks.

The file gets its name when it is complete: until then it is OUT.h5.importing, which a later import
of the same name overwrites. So a kill leaves nothing that could be taken for a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from eddyscope.artefacts.dataset.layout import Layout
from eddyscope.artefacts.dataset.writer import DatasetWriter, create
from eddyscope.config.arrays import FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import CannotWrite, NotFinite, agree
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.world import World, block
from eddyscope.storage.atomic import replace_file, write_on_root
from eddyscope.storage.lock import take_lock
from eddyscope.storage.variables import Attributes

__all__ = ["Made", "fill", "require_new"]


@dataclass(frozen=True)
class Made:
    """One sample of one member."""

    fields: Mapping[int, Mapping[str, FloatArray]]
    """Coarse grid n -> field -> values (layer, y, x), or (y, x)."""
    spectra: Mapping[str, FloatArray] = field(default_factory=dict)
    """Of the unfiltered flow, where that is known."""
    record: Mapping[str, float] = field(default_factory=dict)
    """Its diagnostics, likewise."""


def require_new(path: Path) -> None:
    """CaseError where there is something already. Not collective."""
    if path.exists() or path.is_symlink():
        raise CaseError(f"{path} exists; an import overwrites nothing: name another file")


def fill(
    path: Path,
    world: World,
    layout: Layout,
    attributes: Attributes,
    make: Callable[[int, int], Made],
) -> None:
    """A new dataset of what `make` gives of (member, sample). Collective; `make` is not. CaseError
    where a sample cannot be made; then, as wherever all ranks fail together, nothing is left."""
    temporary = path.with_name(f"{path.name}.importing")
    with _alone(path, world):
        try:
            create(temporary, world.comm, layout, attributes)
            _fill(temporary, world, layout, make)
        except (CaseError, CannotWrite):
            if world.is_root:
                temporary.unlink(missing_ok=True)
            raise
        write_on_root(path, world.comm, lambda: replace_file(temporary, path))


@contextmanager
def _alone(path: Path, world: World) -> Iterator[None]:
    """For the time of a `with` block, no other program imports to the same file. CaseError if one
    does. Collective."""
    note = path.with_name(f"{path.name}.lock")
    held = []

    def lock() -> None:
        require_new(path)
        file = take_lock(note)
        if file is None:
            raise CaseError(f"{path}: another program is importing to it; name another file")
        held.append(file)

    write_on_root(path, world.comm, lambda: path.parent.mkdir(parents=True, exist_ok=True))
    world.on_root(lock)
    try:
        yield
    finally:
        for file in held:
            note.unlink(missing_ok=True)
            file.close()


def _of_members(
    make: Callable[[int, int], Made], members: Iterable[int], sample: int
) -> dict[int, Made]:
    return {member: make(member, sample) for member in members}


def _fill(path: Path, world: World, layout: Layout, make: Callable[[int, int], Made]) -> None:
    members = block(layout.members, world.size, world.rank)
    owned = range(members.start, members.stop)
    progress = Progress(world, "import", layout.samples)
    with DatasetWriter.opened(path, layout, world.comm, owned) as writer:
        for sample in range(layout.samples):
            made = agree(world.comm, partial(_of_members, make, owned, sample))
            coarse = {n: {m: made[m].fields[n] for m in owned} for n in layout.grids}
            try:
                writer.add_sample(sample, coarse, {m: made[m].spectra for m in owned})
            except NotFinite:
                raise CaseError(
                    f"numbers of sample {sample} are too large for {layout.dtype}; give --scale, "
                    "or --precision float64"
                ) from None
            if layout.record_times:
                names = made[members.start].record if owned else {}
                values = {k: np.array([made[m].record[k] for m in owned]) for k in names}
                if owned:
                    writer.add_record(sample, members, values)
            progress.update(sample + 1)
