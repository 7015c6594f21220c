"""What a case has to know of a dataset that it names in place of a simulation. It is only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eddyscope.artefacts.dataset.layout import Box
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.schema import EnsembleSettings
from eddyscope.config.errors import CaseError

__all__ = ["Named"]

SAME = 1e-6
"""Relative difference of times that counts as none."""

TOLD = ("members", "samples", "interval", "spin_up")
"""What a case may say of a named ensemble, and must then say as it is."""


@dataclass(frozen=True)
class Named:
    """A dataset that a case names."""

    path: Path
    ensemble: EnsembleSettings
    """Its own."""
    layers: int
    widths: Mapping[int, float]
    """Coarse grid -> filter width."""
    fields: tuple[str, ...]
    box: Box
    points: Mapping[int, tuple[int, int]]
    """Coarse grid n -> points along (y, x)."""
    spectral: bool
    """Whether its fields are periodic, on as many points along y as along x, in a square box."""
    case: Mapping[str, object]
    """The case that it was made from, with all its defaults; of an import a few numbers."""
    system: str
    """What it was in that case."""
    even: bool
    """Whether samples are at equal intervals."""

    @classmethod
    def of(cls, path: Path) -> Named:
        """Not collective. CaseError for a dataset that is missing, damaged or not finished."""
        found = Dataset(path)
        if not found.complete:
            raise CaseError(
                f"{path}: {int(found.committed.sum())} of {found.committed.size} samples are "
                "committed; finish it with the case that makes it"
            )
        steps = np.diff(found.time, axis=1)
        return cls(
            path=path,
            ensemble=found.ensemble,
            layers=found.layers,
            widths=found.filter_width,
            fields=tuple(found.fields),
            box=found.box,
            points=found.points,
            spectral=found.spectral,
            case=found.case,
            system=found.system,
            even=bool(np.allclose(steps, found.ensemble.interval, rtol=SAME, atol=0.0)),
        )

    def __str__(self) -> str:
        size = f"{self.ensemble.members} members x {self.ensemble.samples} samples"
        return f"named, not simulated: {self.path} ({size})"

    def told(self, *keys: str) -> object:
        """What its case says under some keys; None for nothing."""
        found: object = self.case
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    @property
    def flow(self) -> object:
        """Its flow as a case file has it; None where the dataset does not say."""
        return self.told(self.system, "flow")

    def filled(self, given: Mapping[str, object], flow: object) -> dict[str, object]:
        """A system's table of a case file, with what the dataset says where the case is silent.
        ValueError where the case says otherwise of the ensemble. flow: its own, as settings."""
        tree, ensemble = dict(given), given.get("ensemble", {})
        if tree.get("flow") is None:
            tree["flow"] = flow
        if isinstance(ensemble, dict):
            self._require_same(ensemble)
            own = self.ensemble.model_dump(mode="json", serialize_as_any=True)
            tree["ensemble"] = {**own, **ensemble}
        return tree

    def _require_same(self, ensemble: Mapping[str, object]) -> None:
        """ValueError where a case says otherwise of the ensemble than it is."""
        for name in TOLD:
            found, said = getattr(self.ensemble, name), ensemble.get(name, None)
            if isinstance(said, int | float) and found != said:
                raise ValueError(
                    f"ensemble.{name} = {said:g}, but {self.path} has {found:g}; leave it out"
                )

    def check(self, flow: object, own_flow: object, ensemble: EnsembleSettings) -> None:
        """ValueError where a case says otherwise of the flow than it is, or splits the ensemble as
        it cannot be."""
        if own_flow is not None and flow != own_flow:
            raise ValueError(
                f"its flow is another than that of {self.path}; leave [flow] out, or simulate it: "
                "leave dataset out"
            )
        if getattr(ensemble.split, "kind", "") == "time" and not self.even:
            raise ValueError(
                f"ensemble.split.kind = 'time': the samples of {self.path} are not at equal "
                "intervals; split it by members"
            )
