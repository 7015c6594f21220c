"""What large-eddy simulation has to know of the target: from the case, or the dataset it names."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from eddyscope.artefacts.dataset.named import Named
from eddyscope.config.errors import CaseError
from eddyscope.filtering.kernels import FILTERS, FilterSettings
from eddyscope.flows.base import FlowSettings
from eddyscope.solver.settings import TimeSettings
from eddyscope.spectral.grid import BOX, GridSettings
from eddyscope.stages.case import Case

__all__ = ["Target"]

SAME = 1e-3
"""Relative difference of lengths that counts as none."""


@dataclass(frozen=True)
class Target:
    """The target's equation, and how its dataset was made."""

    flow: FlowSettings
    filter: FilterSettings
    time: TimeSettings
    dealias: float

    @classmethod
    def of(cls, case: Case) -> Target:
        """CaseError where the equation, or what it is solved with, is not known, or a closure
        cannot be made of the network."""
        system = case.system("target")
        for closure in case.les.closures:
            closure.check_channels(case.channels, system.layers)
        named = system.named
        if system.flow is None:
            raise CaseError(
                "the target's flow is not known: its dataset does not say; add [target.flow]"
            )
        if named is None:
            grid, time = case.solver
            return cls(system.flow, case.filter_of("target"), time, grid.dealias)
        _require_box(named)
        filter_, time = _filter_of(case, named), _time_of(case, named)
        return cls(system.flow, filter_, time, _dealias_of(case, named))

    @classmethod
    def unknown(cls, case: Case) -> str:
        """What is missing, for large-eddy simulation; empty where nothing is."""
        try:
            cls.of(case)
        except CaseError as error:
            return str(error)
        return ""


def _require_box(named: Named) -> None:
    side = named.box.length[0]
    if not named.spectral or abs(side - BOX) > SAME * BOX:
        raise CaseError(
            f"the target's fields lie in a box of {named.box}, but simulations are periodic, "
            "2π x 2π, with as many points along x as along y"
        )


def _dealias_of(case: Case, named: Named) -> float:
    if case.grid is not None:
        return case.grid.dealias
    with suppress(ValidationError):
        return GridSettings.model_validate(named.told("grid")).dealias
    default: float = GridSettings.model_fields["dealias"].default
    return default


def _time_of(case: Case, named: Named) -> TimeSettings:
    if case.time is not None:
        return case.time
    with suppress(ValidationError):
        return TimeSettings.model_validate(named.told("time"))
    if case.les.dt is not None:
        return TimeSettings(dt=case.les.dt)
    raise CaseError("the target's dataset says no time step; set les.dt")


def _filter_of(case: Case, named: Named) -> FilterSettings:
    """The filter that the dataset was made with. CaseError where the case says another."""
    found: FilterSettings | None = None
    stored = named.told(named.system, "filter") or named.told("filter")
    if isinstance(stored, dict):
        with suppress(ValidationError, CaseError):
            found = FILTERS[stored["kind"]].Settings.model_validate(stored)
    n = case.network_grid
    own = case.filter_of("target")
    given = "filter" in case.model_fields_set or case.system("target").filter is not None
    if found is not None and not given:
        own = found
    kinds = [getattr(one, "kind", "") for one in (found or own, own)]
    other = kinds[0] != kinds[1]
    if other or abs(own.delta(n) - named.widths[n]) > SAME * named.widths[n]:
        width = named.widths[n] * n / BOX
        kind = f"kind = {kinds[0]!r}, " if found is not None else ""
        raise CaseError(
            f"[filter] has kind = {kinds[1]!r}, width = {own.width:g}, but the target's dataset "
            f"was filtered with {kind}width = {width:.4g}; set that"
        )
    return own
