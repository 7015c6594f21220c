"""Arrays and texts in one safetensors file, with one digest over both. No pickle, no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from eddyscope.config.arrays import AnyArray
from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file
from eddyscope.storage.atomic import write_atomically

__all__ = ["read_tensors", "write_tensors"]

DIGEST = "digest"
"""Name, among the texts, of the SHA-256 of all arrays and all other texts."""


def write_tensors(path: Path, arrays: Mapping[str, AnyArray], texts: Mapping[str, str]) -> str:
    """Replace the file at `path`, whole or not at all; gives its digest. Not collective.

    texts: with a `format`. Raises CannotWrite.
    """
    digest = _digest(arrays, texts)
    # Copies in C order (np.ascontiguousarray would give a scalar an axis).
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    write_atomically(path, _in_order(save(plain, {**texts, DIGEST: digest})))
    return digest


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header sorted, so that the same contents give the same bytes:
    the library leaves the order of the texts to chance."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True, separators=(",", ":"))
    padded = header.encode().ljust(-(-len(header.encode()) // 8) * 8)
    return len(padded).to_bytes(8, "little") + padded + content[start:]


def read_tensors(path: Path, form: str, what: str) -> tuple[dict[str, AnyArray], dict[str, str]]:
    """Arrays and texts of a file of format `form`, verified by its digest. Not collective.

    Raises CaseError for a file that is missing, damaged, or of another format.
    """
    require_file(path, what)
    try:
        with safe_open(path, framework="np") as file:
            texts: dict[str, str] = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise CaseError(
            f"{path}: not a readable {what} ({reason}); it may be cut short or damaged: make it "
            "again with --fresh"
        ) from None
    if texts.get("format") in (None, "pt"):  # as safetensors.torch and others write it
        raise CaseError(
            f"{path}: not a {what} of this program, but safetensors of another; if they are the "
            'state of a module of your own, a case names them: network = {kind = "user", '
            f"weights = {json.dumps(path.name)}, …}}, see `eddyscope example own_network`"
        )
    if texts.get("format") != form:
        raise CaseError(
            f"{path}: not a {what} of this version of the program (format "
            f"{texts.get('format')!r}, expected {form!r}); make it again with --fresh, or give "
            "another file"
        )
    if texts.get(DIGEST) != _digest(arrays, texts):
        raise CaseError(
            f"{path}: its contents do not match their SHA-256, so the {what} is damaged or was "
            "changed by hand: make it again with --fresh"
        )
    return arrays, texts


def _digest(arrays: Mapping[str, AnyArray], texts: Mapping[str, str]) -> str:
    covered = {name: text for name, text in texts.items() if name != DIGEST}
    digest = hashlib.sha256(json.dumps(covered, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.array(arrays[name], order="C")
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
