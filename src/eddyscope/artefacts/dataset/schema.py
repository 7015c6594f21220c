"""What a dataset file contains; the one place that names its groups, variables and conventions."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from eddyscope.artefacts.dataset.split import SPLITS, Parts, Sampled, by_member
from eddyscope.config.case import Section
from eddyscope.config.errors import CaseError
from eddyscope.config.registry import Choice
from eddyscope.config.units import TIME

__all__ = [
    "DIAGNOSTICS",
    "FORMAT",
    "IMPORTED",
    "RECORD_CHECKSUM",
    "SIGN_CONVENTION",
    "SPECTRA",
    "SYSTEMS",
    "System",
    "VARIABLES",
    "VISCOSITY",
    "EnsembleSettings",
    "group_name",
]

System = Literal["base", "target"]

SYSTEMS: tuple[str, ...] = get_args(System)
"""The two of a case: what a model is trained on, and what it is moved to."""

IMPORTED = "imported"
"""The system of a dataset that `eddyscope import` made of a user's arrays."""

FORMAT = "eddyscope-dataset-3"

SIGN_CONVENTION = (
    "laplacian(psi) = -omega, u = d(psi)/dy, v = -d(psi)/dx; "
    "pi = J(omega_bar, psi_bar) - bar(J(omega, psi)), added to the right-hand side of the LES"
)
"""Stored with every dataset and every model; what carries another is refused."""

VISCOSITY = "viscosity"
"""Attribute: ν of the flow's ν∇²ω; not there where the flow has none."""

VARIABLES = {
    "psi": "filtered streamfunction",
    "omega": "filtered vorticity",
    "pi": "exact subgrid term of the vorticity equation",
}
"""Fields of every coarse grid, each with axes (member, sample, y, x); of a flow of several layers
(member, sample, layer, y, x)."""

SPECTRA = {
    "energy": "energy spectrum E(k) of shells k - 1/2 < |k| <= k + 1/2, without the corners beyond",
    "enstrophy": "enstrophy spectrum Z(k) of the same shells",
    "energy_flux": "flux of energy through wavenumber k, positive to smaller scales",
    "enstrophy_flux": "flux of enstrophy through wavenumber k, positive to smaller scales",
}
"""Spectra of the unfiltered flow, each with axes (member, sample, wavenumber). The shells are
k = 1 … n/2 - 1 (`spectral/shells.py`): a sum over them lacks the modes in the corners beyond, of
the energy about 0.1 %."""

DIAGNOSTICS = {
    "energy": "kinetic energy, mean of |u|²/2",
    "enstrophy": "enstrophy, mean of ω²/2",
    "palinstrophy": "palinstrophy, mean of |∇ω|²/2",
    "energy_input": "rate at which the forcing adds energy",
    "enstrophy_input": "rate at which the forcing adds enstrophy",
    "energy_dissipation": "rate at which viscosity and drag remove energy",
    "enstrophy_dissipation": "rate at which viscosity and drag remove enstrophy",
    "cfl": "CFL number, dt · max(|u| + |v|) / Δx with Δx = 2π/n",
}
"""Domain means of the unfiltered flow against time, each with axes (member, record)."""


RECORD_CHECKSUM = "checksum"
"""Of the diagnostics: the array with one checksum for each record of a member."""


def group_name(n: int) -> str:
    """The group of a coarse grid of n × n points."""
    return f"n{n:03d}"


class EnsembleSettings(Section):
    """`[base.ensemble]`, `[target.ensemble]`: independent runs, and when they are sampled.

    Sample s of each member is taken at t = spin_up + s · interval, s = 0 … samples - 1.
    """

    members: int = Field(ge=1, le=2**40)
    """Independent runs, each from its own initial condition."""
    spin_up: Annotated[float, TIME] = Field(default=0.0, ge=0.0)
    """Time before the first sample."""
    interval: Annotated[float, TIME] = Field(gt=0.0)
    """Time between samples."""
    samples: int = Field(ge=1)
    """Samples of each member."""
    split: Annotated[Any, Choice(SPLITS, default="members")] | None = None
    """Members for training, validation and testing, in this order, {train = 4, validation = 0,
    test = 2}, or every member's time cut in three, {kind = "time", gap = 2.0}; by default the last
    fifth of the members tests and the fifth before it validates."""
    diagnostics: int = Field(default=10, ge=1)
    """Records of the diagnostics in each interval between samples (at most one a step)."""

    @model_validator(mode="after")
    def _split_fits(self) -> EnsembleSettings:
        _ = self.parts  # raises where it does not
        return self

    @property
    def parts(self) -> Parts:
        """What trains, validates and tests."""
        sampled = Sampled(self.members, self.samples, self.interval)
        if self.split is not None:
            return SPLITS.build(self.split).parts(sampled)
        test = max(1, self.members // 5) if self.members > 1 else 0
        validation = test if self.members > 2 * test else 0
        return by_member(sampled, self.members - test - validation, validation)

    def count(self, part: str) -> int:
        """Samples of a part."""
        return self.parts[part].samples

    def training_samples(self, system: str, setting: str, count: int | None) -> int:
        """How many samples of the training members are used: `count`, or all for None.

        CaseError if there are fewer. system: whose ensemble this is; setting: the dotted key
        that asks for `count`.
        """
        blocks = self.parts["train"]
        available = self.count("train")
        if count is not None and count > available:
            raise CaseError(
                f"{setting} = {count}, but the {system} ensemble has {available} training samples "
                f"({len(blocks)} members of {len(blocks[0])}); lower it, or raise "
                f"{system}.ensemble.members or samples (or name a larger dataset)"
            )
        return available if count is None else count
