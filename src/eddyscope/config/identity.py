"""What decides a result: the one definition, for steps, checkpoints and training alike.

A result is decided by the sections of the case that its step declares, but for fields that
are marked as changing nothing, and by the contents of the files that it reads.

    class CheckpointSettings(Section):
        seconds: Annotated[float, CHANGES_NO_RESULT] = 60.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["CHANGES_NO_RESULT", "decides", "deciding", "deciding_of"]


class _Mark:
    """Of which there is one; compared by identity."""

    def __repr__(self) -> str:
        return "CHANGES_NO_RESULT"


CHANGES_NO_RESULT = _Mark()
"""Annotation of a settings field whose value no result depends on."""


def decides(field: FieldInfo) -> bool:
    """Whether results depend on a settings field."""
    return CHANGES_NO_RESULT not in field.metadata


def deciding(value: Any) -> Any:
    """Settings as a JSON-like tree, without the fields that change no result.

    value: a section, or what a section's field holds.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: deciding(getattr(value, name)) for name, field in fields.items() if decides(field)
        }
    if isinstance(value, dict):
        return {str(key): deciding(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [deciding(entry) for entry in value]
    return value


def deciding_of(case: BaseModel, keys: Sequence[str]) -> dict[str, Any]:
    """What decides a result, under each dotted key of a case: {"transfer.samples": 20, …}.

    A key below a section that the case does not have gives None.
    """
    found = {}
    for key in keys:
        value: Any = case
        for part in key.split("."):
            value = None if value is None else getattr(value, part)
        found[key] = deciding(value)
    return found
