"""Names in case files -> classes. A registry is a plain table beside the classes it names.

    FORCINGS = Registry("forcing", {"none": NoForcing, "ring": RingForcing})

    class FlowSettings(Section):
        forcing: Annotated[Section, Choice(FORCINGS)]

Every registered class has a nested `Settings` section whose field `kind` is a
Literal of its name. There is no registration by import.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar, Union

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from eddyscope.config.case import CaseError

__all__ = ["Choice", "Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of named classes; `noun` says what they are in error messages."""

    def __init__(self, noun: str, entries: Mapping[str, type[T]]):
        self.noun = noun
        self.entries: dict[str, Any] = dict(entries)

    def __getitem__(self, name: str) -> Any:
        if name in self.entries:
            return self.entries[name]
        near = difflib.get_close_matches(name, self.entries, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise CaseError(f"no {self.noun} named {name!r}; allowed: {', '.join(self.entries)}{hint}")

    def __iter__(self) -> Any:
        return iter(self.entries)

    def build(self, settings: Any, *args: Any, **kwargs: Any) -> T:
        """The object that `settings.kind` names, made from its settings."""
        built: T = self[settings.kind](settings, *args, **kwargs)
        return built


class Choice:
    """Annotation of a settings field: any entry's `Settings`, told apart by their `kind`."""

    def __init__(self, registry: Registry[Any]):
        self.registry = registry

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        models = tuple(entry.Settings for entry in self.registry.entries.values())
        if len(models) == 1:
            return handler.generate_schema(models[0])
        union = Annotated[Union[models], Field(discriminator="kind")]  # type: ignore[valid-type] # noqa: UP007
        return handler.generate_schema(union)
