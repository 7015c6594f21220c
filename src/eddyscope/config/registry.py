"""Names in case files -> classes: the one way in which a choice is offered and made.

    FORCINGS = Registry("forcing", {"none": NoForcing, "ring": RingForcing})

    class FlowSettings(Section):
        forcing: Annotated[Any, Choice(FORCINGS)] = NoForcing.Settings()

A registry is a plain table beside the classes it names; there is no registration by import.
Every registered class has a nested `Settings` section, whose field `kind` is a Literal of
its name, and is made from it: `FORCINGS.build(settings, …)`. Settings that all entries of a
registry share stand in a section that their `Settings` inherit from.

In a case file a choice is a table, `forcing = {kind = "ring", wavenumber = 8}`, or, where
nothing else needs to be said, the plain name, `forcing = "none"`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from eddyscope.config.errors import CaseError, did_you_mean

__all__ = ["Choice", "Registry", "choice_of", "forms_of"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of named classes; `noun` says what they are in error messages."""

    def __init__(self, noun: str, entries: Mapping[str, type[T]]):
        self.noun = noun
        self.entries: dict[str, Any] = dict(entries)

    def __getitem__(self, name: str) -> Any:
        if name in self.entries:
            return self.entries[name]
        hint = did_you_mean(name, self.entries)
        raise CaseError(
            f"no {self.noun} named {name!r}; allowed: {', '.join(self.entries)}"
            + (f"; {hint}" if hint else "")
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def build(self, settings: Any, *args: Any, **kwargs: Any) -> T:
        """The object that `settings.kind` names, made from its settings."""
        built: T = self[settings.kind](settings, *args, **kwargs)
        return built

    def settings(self, name: str, **values: Any) -> Any:
        """Validated settings of the entry `name`, the others by default."""
        return self[name].Settings.model_validate({"kind": name, **values})


class Choice:
    """Annotation of a settings field: any entry's `Settings`, told apart by their `kind`.

    default: the kind where a table names none; without it `kind` must be given.
    """

    def __init__(self, registry: Registry[Any], default: str | None = None):
        self.registry = registry
        self.default = default

    def kind_of(self, given: Any) -> Any:
        """The kind that a value from a case file, or a section, names; None for none."""
        if isinstance(given, str):
            return given
        if isinstance(given, BaseModel):
            return getattr(given, "kind", None)
        return given.get("kind", self.default) if isinstance(given, dict) else None

    def _spelt_out(self, given: Any) -> Any:
        """A plain name as the table it stands for, and a table without a kind with its default."""
        if isinstance(given, str):
            return {"kind": given}
        if isinstance(given, dict) and "kind" not in given and self.default is not None:
            return {"kind": self.default, **given}
        return given

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        models = tuple(entry.Settings for entry in self.registry.entries.values())
        union: Any = models[0]
        if len(models) > 1:
            union = Annotated[Union[models], Field(discriminator="kind")]  # noqa: UP007
        return core_schema.no_info_before_validator_function(
            self._spelt_out, handler.generate_schema(union)
        )


def choice_of(field: FieldInfo) -> Choice | None:
    """The choice that a field, or each item of its list, offers."""
    inside = [m for part in get_args(field.annotation) for m in getattr(part, "__metadata__", ())]
    return next((m for m in (*field.metadata, *inside) if isinstance(m, Choice)), None)


def forms_of(annotation: object) -> tuple[object, ...]:
    """The types that a setting may have: those of a union, or the one."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
