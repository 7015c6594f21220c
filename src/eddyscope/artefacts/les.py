"""Large-eddy simulations as artefacts: `les/<closure>.h5`, and `les/dns.h5`, the same statistics
of the filtered direct simulation over the same time. Layout, writer and reader.

    time, energy, enstrophy   (member, record)         NaN after a blow-up
    energy_spectrum           (member, wavenumber)     mean over the records
    vorticity_pdf             (member, vorticity_bin)  over all records and layers
    stable                    (member)                 1 if always finite
    blow_up_time              (member)                 time by which it was not; NaN if stable
    omega                     (member, y, x), or (member, layer, y, x) of several layers; at the
                              last finite record
    member, record, wavenumber, vorticity_bin, y, x    coordinates

Lengths are those of the box 2π, times those of the equations: nothing has units. Attributes:
`format`, `closure` (its text, or "dns"), `model` (the key of the model behind it; "" if none is),
`normalisation` (how its fields were normalised, see `artefacts/normalisation.py`; likewise), `dt`,
and the provenance that all artefacts carry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eddyscope.config.arrays import AnyArray, FloatArray
from eddyscope.spectral.grid import BOX
from eddyscope.storage.small import Attribute, read_tree, write_tree

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FILTERED_DNS", "FORMAT", "MemberStatistics", "read_les", "write_les"]

FORMAT = "eddyscope-les-2"

FILTERED_DNS = "dns"
"""Name of the filtered direct simulation among closures."""


@dataclass(frozen=True)
class MemberStatistics:
    """Of one member with one closure, of its records up to a blow-up."""

    time: FloatArray
    """Of all records that were meant, (record,)."""
    energy: FloatArray
    """Of those that were reached, (record,)."""
    enstrophy: FloatArray
    energy_spectrum: FloatArray
    """(wavenumber,)."""
    vorticity_pdf: FloatArray
    """(vorticity_bin,)."""
    omega: FloatArray
    """At the last record reached, (layer, y, x)."""

    @property
    def is_stable(self) -> bool:
        """Whether every record was reached."""
        return len(self.energy) == len(self.time)

    @property
    def blow_up_time(self) -> float:
        """Time of the first record that was not reached; NaN if there is none."""
        return float("nan") if self.is_stable else float(self.time[len(self.energy)])


def write_les(
    path: Path,
    members: Sequence[int],
    found: Sequence[MemberStatistics],
    edges: FloatArray,
    attributes: Mapping[str, Attribute],
) -> None:
    """Write the statistics of `members`, whole or not at all. Not collective: on one rank.

    edges: of the bins of vorticity, (vorticity_bin + 1,). Raises CannotWrite.
    """
    write_tree(path, {"": _dataset(members, found, edges)}, {**attributes, "format": FORMAT})


def read_les(path: Path) -> xr.Dataset:
    """The statistics. Not collective. CaseError if missing, damaged or of another kind."""
    return read_tree(path, "large-eddy simulation", FORMAT).to_dataset()


def _dataset(
    members: Sequence[int], found: Sequence[MemberStatistics], edges: FloatArray
) -> xr.Dataset:
    import xarray as xr

    records = max(len(f.time) for f in found)
    layers, n, _ = found[0].omega.shape
    omega = np.stack([f.omega for f in found]).astype("float32")
    axes = ("member", "y", "x") if layers == 1 else ("member", "layer", "y", "x")
    per_record = ("member", "record")
    points = np.arange(n) * (BOX / n)
    return xr.Dataset(
        {
            "time": _named(per_record, _padded([f.time for f in found], records),
                           "time since the start"),
            "energy": _named(per_record, _padded([f.energy for f in found], records),
                             "kinetic energy, mean of |u|²/2"),
            "enstrophy": _named(per_record, _padded([f.enstrophy for f in found], records),
                                "enstrophy, mean of ω²/2"),
            "energy_spectrum": _named(("member", "wavenumber"),
                                      np.stack([f.energy_spectrum for f in found]),
                                      "energy spectrum E(k), mean over the records"),
            "vorticity_pdf": _named(("member", "vorticity_bin"),
                                    np.stack([f.vorticity_pdf for f in found]),
                                    "probability density of the vorticity over all records"),
            "stable": _named(("member",), np.array([f.is_stable for f in found], "uint8"),
                             "1 if always finite"),
            "blow_up_time": _named(("member",), np.array([f.blow_up_time for f in found]),
                                   "time by which it was not finite"),
            "omega": _named(axes, omega[:, 0] if layers == 1 else omega,
                            "vorticity at the last finite record"),
        },
        {
            "member": _named(("member",), np.array(members), "ensemble member"),
            "record": _named(("record",), np.arange(records), "record number"),
            "wavenumber": _named(("wavenumber",), np.arange(1.0, n // 2), "wavenumber k"),
            "vorticity_bin": _named(("vorticity_bin",), 0.5 * (edges[1:] + edges[:-1]),
                                    "vorticity, bin centres"),
            "y": _named(("y",), points, "coordinate y"),
            "x": _named(("x",), points, "coordinate x"),
        },
    )  # fmt: skip


def _named(
    dims: tuple[str, ...], data: AnyArray, long_name: str
) -> tuple[tuple[str, ...], AnyArray, dict[str, str]]:
    return dims, data, {"long_name": long_name}


def _padded(lines: Sequence[FloatArray], length: int) -> FloatArray:
    """Lines of different lengths as one table, NaN beyond their ends."""
    table = np.full((len(lines), length), np.nan)
    for row, line in zip(table, lines, strict=True):
        row[: len(line)] = line
    return table
