"""Space on the disk: what is free, and what files take."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from eddyscope.config.errors import CaseError

__all__ = ["free_space", "require_folder", "require_space", "space_taken"]

SLACK = 2**17
"""Bytes of free space left for status files and the like."""


def free_space(folder: Path) -> int:
    """Bytes that this user may still write where `folder` is, or would be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def space_taken(path: Path) -> int:
    """Bytes on the disk that a file, or the files of a folder, take."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(512 * file.stat().st_blocks for file in files if file.is_file())


def require_folder(out: Path) -> None:
    """Make the output folder. CaseError where it cannot be written. Not collective."""
    problem = ""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK | os.X_OK):
            problem = "not writable"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise CaseError(f"{out}: cannot write here ({problem}); choose another folder with --out")


def require_space(
    what: str,
    sizes: Mapping[Path, int],
    folder: Path,
    elsewhere: str = "choose another disk with --out",
) -> None:
    """CaseError where files would not fit on the disk. Not collective.

    what: who writes them; sizes: bytes they take at the most; folder: on the same disk; elsewhere:
    how to write to another.
    """
    # What is there already will be filled further, or removed and made anew.
    missing = sum(sizes.values()) - sum(space_taken(path) for path in sizes)
    free = free_space(folder)
    if missing > 0 and missing + SLACK > free:
        raise CaseError(
            f"{folder}: {what} will write {missing / 2**20:.1f} MiB, but only "
            f"{free / 2**20:.1f} MiB are free; free space, or {elsewhere}"
        )
