"""What made this artefact: resolved case, fingerprints, versions of code and libraries."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["code_version", "differences", "digest", "file_digest", "library_versions"]

LIBRARIES = (
    "h5netcdf", "h5py", "mpi4py", "mpi4py-fft", "numba", "numpy", "pydantic", "safetensors",
    "scipy", "torch", "xarray", "xxhash",
)  # fmt: skip
"""Distributions whose version may decide results, or how they are written."""


def digest(tree: Any) -> str:
    """SHA-256 of a JSON-like tree, independent of the order of keys."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Where two JSON-like trees differ, one line a leaf: "grid.n was 128, is now 256"; of another
    kind the kind first, of which the other settings follow."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted(old.keys() | new.keys(), key=lambda key: (key != "kind", key)):
            name = f"{prefix}.{key}" if prefix else str(key)
            lines += differences(old.get(key), new.get(key), name)
        return lines
    return [] if old == new else [f"{prefix} was {json.dumps(old)}, is now {json.dumps(new)}"]


@cache
def code_version() -> str:
    """The package's version, with the git commit (and `+dirty`) when run from a checkout."""
    version = importlib.metadata.version("eddyscope")
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return version
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version} ({described})"


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide results, read without importing them."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions
