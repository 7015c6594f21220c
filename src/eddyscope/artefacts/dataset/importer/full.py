"""Vorticity at full resolution: filtered sample by sample, with its exact Π and its spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.importer.fill import Made
from eddyscope.artefacts.dataset.importer.request import Request
from eddyscope.artefacts.dataset.importer.sources import Blocks, Stack
from eddyscope.artefacts.dataset.layout import Layout
from eddyscope.config.arrays import AnyArray, ComplexArray, FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.spectral.grid import BOX

__all__ = ["FieldFilter", "FullFields", "Spectra", "full_layout", "require_full"]

FEWEST = 8
"""Points a side of a full grid."""

FIELDS_AT_WORK = 16
"""Full fields of float64 that filtering one takes at the most (measured: 12 to 15)."""

LARGEST_MEAN = 1e-5
"""Mean of vorticity over its rms, above which it is none of a periodic flow."""

KNOWN = ("energy", "enstrophy", "palinstrophy")
"""Diagnostics that vorticity alone tells."""


class FieldFilter(Protocol):
    """Filters one field: `filtering/fields.py`."""

    def modes(self, omega: AnyArray) -> tuple[ComplexArray, ComplexArray]:
        """ω̂ and Ĵ of ω (y, x)."""

    def coarse(
        self, omega_hat: ComplexArray, advection_hat: ComplexArray
    ) -> dict[int, dict[str, FloatArray]]:
        """Coarse grid -> psi, omega and pi."""


class Spectra(Protocol):
    """What else is known of a state, each with an axis of members first."""

    def spectra(
        self, omega_hat: ComplexArray, advection_hat: ComplexArray
    ) -> dict[str, FloatArray]:
        """Name -> values over shells."""

    def means(self, omega_hat: ComplexArray, time: float, step: int) -> dict[str, FloatArray]:
        """Name -> domain mean."""


def require_full(request: Request, stack: Stack) -> int:
    """Points a side of the field. CaseError where it is not one that can be filtered here."""
    _members, _samples, layers, ny, nx = stack.shape
    where = f"--omega-full {stack.parts[0].name}"
    if layers > 1:
        raise CaseError(
            f"{where}: has {layers} layers; how they are coupled is not known here: filter them "
            "yourself, and import psi, omega and pi"
        )
    if not all(request.box.periodic):
        raise CaseError(
            f"{where}: with walls there is no exact filter here; leave --walls out, or filter it "
            "yourself, and import psi, omega and pi"
        )
    if ny != nx or nx % 2 or nx < FEWEST or len(set(request.box.length)) > 1:
        raise CaseError(
            f"{where}: has {ny} x {nx} points on {request.box.length[0]:g} x "
            f"{request.box.length[1]:g}; filtering asks for a square of n x n points, n even and "
            f"at least {FEWEST}"
        )
    finest = max(request.n)
    if finest > nx:
        raise CaseError(f"--n {finest} is finer than the field's {nx} points; give at most {nx}")
    return nx


def memory(n: int) -> float:
    """Bytes of a rank at work on a field of n × n points."""
    return 8.0 * FIELDS_AT_WORK * n * n


def full_layout(
    request: Request, stack: Stack, times: tuple[float, ...], widths: Mapping[int, float]
) -> Layout:
    """The dataset of such a field. widths: coarse grid -> filter width Δ in the box 2π × 2π."""
    scale = request.box.length[1] / BOX
    return Layout(
        members=stack.shape[0],
        sample_times=times,
        record_times=times,
        n_shells=stack.shape[-1] // 2 - 1,
        grids={n: width * scale for n, width in widths.items()},
        dtype=request.precision,
        box=request.box,
    )


@dataclass(frozen=True)
class FullFields:
    """Makes samples of vorticity at full resolution, in the units of its box: Π, ω and the
    enstrophy are those of the box 2π × 2π; ψ and the energy grow as the square of its length."""

    stack: Stack
    blocks: Blocks
    filter: FieldFilter
    diagnostics: Spectra
    length: float

    def make(self, member: int, sample: int) -> Made:
        """One sample of one member. Not collective."""
        omega = self.blocks.read(self.stack, member, sample)[0]
        self._require_no_mean(omega, member, sample)
        omega_hat, advection_hat = self.filter.modes(omega)
        square = (self.length / BOX) ** 2
        powers = {"psi": square, "energy": square, "energy_flux": square,
                  "palinstrophy": 1.0 / square}  # fmt: skip
        coarse = {
            n: {name: values * powers.get(name, 1.0) for name, values in fields.items()}
            for n, fields in self.filter.coarse(omega_hat, advection_hat).items()
        }
        spectra = self.diagnostics.spectra(omega_hat, advection_hat)
        means = self.diagnostics.means(omega_hat, 0.0, 0)
        record = dict.fromkeys(schema.DIAGNOSTICS, float("nan"))
        record |= {name: float(means[name][0]) * powers.get(name, 1.0) for name in KNOWN}
        return Made(
            coarse, {name: v[0] * powers.get(name, 1.0) for name, v in spectra.items()}, record
        )

    def _require_no_mean(self, omega: FloatArray, member: int, sample: int) -> None:
        mean, size = float(omega.mean()), float(np.sqrt(np.square(omega).mean()))
        if abs(mean) > LARGEST_MEAN * size:
            part, _, _ = self.stack.part_of(member, sample)
            raise CaseError(
                f"{part.name}: in member {member}, sample {sample}, the mean is {mean:.3g}, of an "
                f"rms of {size:.3g}, but vorticity of a periodic flow has none; give it on a whole "
                "period, or subtract its mean"
            )
