"""Files that steps read and write: what they hold, and whether a case can use them."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.model import read_model
from eddyscope.config import provenance
from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file
from eddyscope.stages.case import Case

__all__ = ["check_input", "digest_of", "digest_of_input", "is_dataset", "shown"]


def digest_of(path: Path) -> str:
    """What a file holds: a dataset's checksums, any other file's SHA-256. CaseError if damaged."""
    if is_dataset(path):
        return _dataset_digest(path)
    require_file(path, "file")
    try:
        return provenance.file_digest(path)
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error.strerror})") from None


def digest_of_input(path: Path, case: Case) -> str:
    """As `digest_of`; a dataset that the case names may be called anything."""
    return _dataset_digest(path) if path in case.named_datasets else digest_of(path)


def _dataset_digest(path: Path) -> str:
    """A dataset's checksums; of a file that has not changed they are read once."""
    if not path.is_file():  # to open a pipe would wait for a writer
        return Dataset(path).digest  # which says what is wrong
    try:
        with open(path, "rb") as file:  # what a shared disk says of a file is fresh once it is open
            found = os.fstat(file.fileno())
    except OSError:
        return Dataset(path).digest
    return _digest_of_state(
        path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    )


@lru_cache(maxsize=64)
def _digest_of_state(path: Path, state: tuple[int, ...]) -> str:
    return Dataset(path).digest


def is_dataset(path: Path) -> bool:
    """Whether a file of this name is a dataset, by the plan of the output folder."""
    return path.name == "dataset.h5"


def shown(path: Path, out: Path) -> str:
    """`path` as seen from the output folder, so that the folder can be moved."""
    return str(path.relative_to(out)) if path.is_relative_to(out) else str(path)


def check_input(path: Path, case: Case) -> None:
    """CaseError for an artefact that no stage could use. Not collective."""
    if is_dataset(path) or path in case.named_datasets:
        Dataset(path).require(case.network_grid)
    elif path.suffix == ".safetensors":
        read_model(path, case.network)
