"""Space on the disk: what is free, and what files take."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["free_space", "space_taken"]


def free_space(folder: Path) -> int:
    """Bytes that this user may still write where `folder` is, or would be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def space_taken(path: Path) -> int:
    """Bytes on the disk that a file, or the files of a folder, take."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(512 * file.stat().st_blocks for file in files if file.is_file())
