"""The drivers by name, and the setting that chooses one."""

from __future__ import annotations

from typing import Annotated, Any

from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.registry import Choice, Registry
from eddyscope.storage.drivers.base import SharedFile
from eddyscope.storage.drivers.direct import DirectFile
from eddyscope.storage.drivers.mpio import ParallelHdf5File

__all__ = ["STORAGE_DRIVERS", "StorageSettings"]

STORAGE_DRIVERS: Registry[SharedFile] = Registry(
    "storage driver", {"direct": DirectFile, "mpio": ParallelHdf5File}
)


class StorageSettings(Section):
    """`[storage]`: how all ranks write one file together. Results do not depend on it."""

    driver: Annotated[Any, Choice(STORAGE_DRIVERS), CHANGES_NO_RESULT] = DirectFile.Settings()
    """MPI-IO into the file's raw data ("direct"), or HDF5's own parallel driver ("mpio"), where
    h5py is built with MPI."""
