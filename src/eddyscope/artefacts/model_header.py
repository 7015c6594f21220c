"""What a safetensors file says of itself: its header; ours are verified. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from eddyscope.artefacts.tensor_file import read_tensors
from eddyscope.config.errors import CaseError
from eddyscope.config.files import require_file

__all__ = ["ModelFile", "read_model_file"]

LONGEST_HEADER = 100 * 2**20
"""Bytes; the format's own limit."""


OURS = "eddyscope-"
"""What the formats of this program's own files begin with."""


@dataclass(frozen=True)
class ModelFile:
    """Shapes of the tensors, and the metadata with its JSON texts parsed."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, Any]

    @property
    def parameters(self) -> int:
        """Numbers in all tensors together."""
        return sum(prod(shape) for shape in self.shapes.values())

    def losses(self, part: str) -> list[float]:
        """Training curve of a part ("train", "validation"), a loss an epoch; [] if none."""
        history = self.metadata.get("history")
        curve = history.get(part, []) if isinstance(history, dict) else []
        return [float(value) for value in curve] if isinstance(curve, list) else []


def read_model_file(path: Path) -> ModelFile:
    """Read a safetensors header: 8 bytes of length, then JSON. CaseError if it is damaged.

    A file of this program is verified by its digest. Not collective.
    """
    require_file(path, "safetensors file")
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= LONGEST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
            start = file.tell()
            end = file.seek(0, 2)
        metadata = dict(header.pop("__metadata__", {}))
        shapes = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
        needed = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if end - start != needed:
            raise ValueError(f"{end - start} bytes of weights where the header says {needed}")
        parsed = {key: _parsed(value) for key, value in metadata.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CaseError(
            f"{path}: not a readable safetensors file ({error}); it may be cut short or damaged: "
            "make it again"
        ) from None
    form = str(metadata.get("format"))
    if form.startswith(OURS):
        read_tensors(path, form, "file")
    return ModelFile(path, shapes, parsed)


def _parsed(text: str) -> Any:
    """The JSON value of a text, or the text itself where it is none (a format, a digest)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
