"""Filling a dataset with what an import makes, sample by sample, members dealt to the ranks, and
where there are fewer of them, samples too.

The file gets its name when it is complete: until then it is OUT.h5.importing, which a later import
of the same name overwrites. So a kill leaves nothing that could be taken for a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eddyscope.artefacts.dataset.layout import Layout
from eddyscope.artefacts.dataset.writer import DatasetWriter, create
from eddyscope.config.arrays import FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.parallel.failure import CannotWrite, NotFinite, agree, known_to_all
from eddyscope.parallel.progress import Progress
from eddyscope.parallel.world import World, block
from eddyscope.storage.atomic import replace_file, write_on_root
from eddyscope.storage.lock import take_lock
from eddyscope.storage.variables import Attributes

__all__ = ["Made", "Make", "fill", "require_new"]


@dataclass(frozen=True)
class Made:
    """One sample of one member."""

    fields: Mapping[int, Mapping[str, FloatArray]]
    """Coarse grid n -> field -> values (layer, y, x), or (y, x)."""
    spectra: Mapping[str, FloatArray] = field(default_factory=dict)
    """Of the unfiltered flow, where that is known."""
    record: Mapping[str, float] = field(default_factory=dict)
    """Its diagnostics, likewise."""


Make = Callable[[int, int], Made]
"""Makes one sample from (member, sample). Not collective; raises CaseError."""

OfMembers = Mapping[int, Made]
"""Member -> one sample of it."""


def require_new(path: Path) -> None:
    """CaseError where there is something already. Not collective."""
    if path.exists() or path.is_symlink():
        raise CaseError(f"{path} exists; an import overwrites nothing: name another file")


def fill(
    path: Path,
    world: World,
    layout: Layout,
    attributes: Attributes,
    make: Make,
) -> None:
    """A new dataset of what `make` gives of (member, sample). Collective; `make` is not. CaseError
    where a sample cannot be made, CannotWrite where the disk is full; then, as wherever all ranks
    fail together, nothing is left."""
    temporary = path.with_name(f"{path.name}.importing")
    with _alone(path, world):
        try:
            create(temporary, world.comm, layout, attributes)
            _fill(temporary, world, layout, make)
            write_on_root(path, world.comm, lambda: replace_file(temporary, path))
        except (CaseError, CannotWrite) as error:
            if world.is_root:
                temporary.unlink(missing_ok=True)
            if isinstance(error, CannotWrite):
                way = "nothing is kept: free space there and import again, or name a file elsewhere"
                told = CannotWrite(f"{error.problem}; {way}")
                raise known_to_all(world.comm, told) from None
            raise


@contextmanager
def _alone(path: Path, world: World) -> Iterator[None]:
    """For the time of a `with` block, no other program imports to the same file. CaseError if one
    does. Collective."""
    note = path.with_name(f"{path.name}.lock")
    locks = []

    def lock() -> None:
        require_new(path)
        file = take_lock(note)
        if file is None:
            raise CaseError(f"{path}: another program is importing to it; name another file")
        locks.append(file)

    world.on_root(lock)
    try:
        yield
    finally:
        for file in locks:
            note.unlink(missing_ok=True)
            file.close()


def _fill(path: Path, world: World, layout: Layout, make: Make) -> None:
    """Samples in order, of which each rank writes those of the members it owns."""
    members = block(layout.members, world.size, world.rank)
    owned = range(members.start, members.stop)
    progress, done = Progress(world, "import", layout.samples), 0
    with DatasetWriter.opened(path, layout, world.comm, owned) as writer:
        while done < layout.samples:
            for made in _next(world, layout, make, done):
                _add(writer, done, made, members)
                done += 1
            progress.update(done)


def _add(writer: DatasetWriter, sample: int, made: OfMembers, members: slice) -> None:
    """Give a sample to the writer. Collective; CaseError where its precision cannot hold it."""
    layout = writer.layout
    coarse = {n: {m: one.fields[n] for m, one in made.items()} for n in layout.grids}
    try:
        writer.add_sample(sample, coarse, {m: one.spectra for m, one in made.items()})
    except NotFinite:
        raise CaseError(
            f"numbers of sample {sample} are too large for {layout.dtype}; give --scale, or "
            "--precision float64"
        ) from None
    if layout.record_times and made:
        records = [one.record for one in made.values()]
        values = {name: np.array([record[name] for record in records]) for name in records[0]}
        writer.add_record(sample, members, values)


def _next(world: World, layout: Layout, make: Make, first: int) -> list[OfMembers]:
    """Samples from `first` on that are made together: of each, what this rank owns. Collective.

    Where there are more ranks than members, those that own none make samples further on, and send
    them to the owner: rank m, of member m.
    """
    members, ranks = layout.members, world.size
    if members >= ranks:
        mine = block(members, ranks, world.rank)
        owned = range(mine.start, mine.stop)
        return [agree(world.comm, lambda: {m: make(m, first) for m in owned})]
    together = min(ranks // members, layout.samples - first)
    turn, member = divmod(world.rank, members)
    made = agree(world.comm, lambda: make(member, first + turn) if turn < together else None)
    gathered = world.comm.alltoall([made if owner == member else None for owner in range(ranks)])
    return [
        {world.rank: gathered[turn * members + world.rank]} if world.rank < members else {}
        for turn in range(together)
    ]
