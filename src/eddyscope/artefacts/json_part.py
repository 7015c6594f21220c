"""What the artefacts in JSON have in common: strict parts, numbers, and one line on a fault."""

from __future__ import annotations

import json
import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

__all__ = ["JsonPart", "Number", "json_text", "fault"]


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
    tree = part.model_dump(mode="json")
    return json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def fault(error: OSError | ValidationError) -> str:
    """One line on why a file could not be read."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
