"""`[base]` and `[target]`: a flow and the ensemble that samples it, or a dataset that is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from eddyscope.artefacts.dataset.named import Named
from eddyscope.artefacts.dataset.schema import EnsembleSettings
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.files import FileName, beside_the_case
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.registry import Choice
from eddyscope.filtering.kernels import FILTERS
from eddyscope.flows.base import FlowSettings
from eddyscope.flows.registry import FLOWS

__all__ = ["SystemSettings"]


class SystemSettings(Section):
    """`[base.…]` or `[target.…]`: a flow and the ensemble that samples it, or a dataset."""

    # What decides is what the dataset holds.
    dataset: Annotated[FileName | None, CHANGES_NO_RESULT] = None
    """A dataset that is there already, of another case or imported: it is read in place of a
    simulation, and never written. Flow and ensemble are then those of the dataset; what may be set
    is ensemble.split, and the flow of imported data, for les."""
    flow: Annotated[Any, Choice(FLOWS)] | None
    """What evolves."""
    ensemble: EnsembleSettings
    filter: Annotated[Any, Choice(FILTERS)] | None = None
    """Of this system alone, in place of the case's [filter]: for a shift by another filter."""

    _named: Named | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _as_named(
        cls, given: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if not isinstance(given, dict) or not isinstance(given.get("dataset"), str):
            return handler(given)
        try:
            named = Named.of(Path(beside_the_case(given["dataset"], info)))
        except CaseError as error:
            raise ValueError(str(error)) from None
        own = _flow_of(named)
        made = handler(named.filled(given, own))
        named.check(made.flow, own, made.ensemble)
        made._named = named
        return made

    @property
    def named(self) -> Named | None:
        """What is known of the dataset that is named; None where the system is simulated."""
        return self._named

    @property
    def layers(self) -> int:
        """Layers of its fields."""
        if self._named is not None:
            return self._named.layers
        layers: int = FLOWS[getattr(self.flow, "kind", "")].layers
        return layers


def _flow_of(named: Named) -> FlowSettings | None:
    """The flow that a dataset's own case tells; None for none, or one of another version."""
    stored = named.flow
    if not isinstance(stored, dict) or stored.get("kind") not in FLOWS.entries:
        return None
    try:
        found: FlowSettings = FLOWS[stored["kind"]].Settings.model_validate(stored)
    except ValidationError:
        return None
    return found
