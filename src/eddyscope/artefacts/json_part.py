"""What the artefacts in JSON have in common: strict parts, numbers, a digest, one line on a fault.

The last entry of such a file is `digest`, the SHA-256 of all the rest, so that no damage and no
change by hand goes unnoticed by who reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from eddyscope.config.files import read_file
from eddyscope.config.provenance import digest

__all__ = ["JsonPart", "Number", "fault", "json_text", "read_part", "with_digest"]

DIGEST = "digest"
"""Key of the SHA-256 of all other entries."""


class JsonPart(BaseModel):
    """An object of a JSON artefact: of these fields and types, no others."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _from_null(value: object) -> object:
    return math.nan if value is None else value


def _to_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


Number = Annotated[
    float, BeforeValidator(_from_null), PlainSerializer(_to_null, return_type=float | None)
]
"""A number, null in JSON where it is not finite."""


def json_text(part: JsonPart) -> str:
    """The text of the file that holds `part`."""
    return with_digest(part.model_dump(mode="json"))


def with_digest(tree: Mapping[str, object]) -> str:
    """The text of the file that holds `tree`, with its digest anew."""
    covered = {name: value for name, value in tree.items() if name != DIGEST}
    whole = {**covered, DIGEST: digest(covered)}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


P = TypeVar("P", bound=JsonPart)


def read_part(kind: type[P], path: Path) -> P:
    """What `json_text` wrote, verified. Not collective. Raises OSError, and ValueError for a file
    that is damaged, changed by hand, or of another kind: see `fault`."""
    content = read_file(path)
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return kind.model_validate_json(content)  # which says where
    given = tree.pop(DIGEST, None) if isinstance(tree, dict) else None
    part = kind.model_validate_json(json.dumps(tree))
    if given != digest(tree):
        raise ValueError("its contents do not match their SHA-256: damaged, or changed by hand")
    return part


def fault(error: OSError | ValueError) -> str:
    """One line on why a file could not be read."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
