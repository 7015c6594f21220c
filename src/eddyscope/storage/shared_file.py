"""HDF5 files that all ranks write together: laid out by one, overwritten in place by all.

Files that grow large are laid out whole, with all their bytes on the disk, before any data goes
in, so that a full disk is an ordinary error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eddyscope.parallel.world import Comm, World
from eddyscope.storage.atomic import replace_file, write_on_root
from eddyscope.storage.disk import require_folder
from eddyscope.storage.drivers.base import DriverSettings, SharedFile
from eddyscope.storage.drivers.direct import DirectFile
from eddyscope.storage.drivers.registry import STORAGE_DRIVERS
from eddyscope.storage.image import Image
from eddyscope.storage.seal import seal
from eddyscope.storage.variables import Tree

__all__ = ["lay_out", "new_file", "open_to_overwrite"]

DIRECT = DirectFile.Settings()


def lay_out(path: Path, comm: Comm, tree: Tree) -> None:
    """A new file at `path`, laid out and sealed by rank 0, with all its bytes on the disk.
    Raises CannotWrite, and CaseError for a folder that cannot be, on all ranks. Collective."""
    temporary = path.with_name(path.name + ".tmp")
    World(comm).on_root(lambda: require_folder(path.parent))

    def work() -> None:
        image = Image(tree)
        image.save(temporary)
        seal(temporary, image.changing)
        replace_file(temporary, path)

    write_on_root(path, comm, work)


@contextmanager
def open_to_overwrite(
    path: Path, comm: Comm, driver: DriverSettings = DIRECT
) -> Iterator[SharedFile]:
    """A laid-out file, open for its raw data for the time of a `with` block; synced at its end
    only by who writes. driver: settings of an entry of STORAGE_DRIVERS. Collective."""
    STORAGE_DRIVERS[driver.kind].require()
    with STORAGE_DRIVERS.build(driver, path, comm).closing() as file:
        yield file


@contextmanager
def new_file(
    path: Path, comm: Comm, tree: Tree, driver: DriverSettings = DIRECT
) -> Iterator[SharedFile]:
    """A new file, laid out on rank 0 with all its bytes on the disk, then open for its raw data;
    synced, sealed, and renamed to `path` when complete. Raises CannotWrite on all ranks.
    Collective."""
    temporary = path.with_name(path.name + ".tmp")
    World(comm).on_root(lambda: require_folder(path.parent))
    image = Image(tree)
    write_on_root(path, comm, lambda: image.save(temporary))
    with open_to_overwrite(temporary, comm, driver) as file:
        yield file
        file.sync()

    def finish() -> None:
        seal(temporary, image.changing)
        replace_file(temporary, path)

    write_on_root(path, comm, finish)
