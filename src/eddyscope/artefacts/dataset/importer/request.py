"""What an import is asked for, as the command line of `eddyscope import` says it."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.layout import Box
from eddyscope.config.errors import CaseError
from eddyscope.spectral.grid import BOX

__all__ = ["AXES", "EXAMPLES", "Request", "add_arguments"]

AXES = ("member", "sample", "layer", "y", "x")
"""Axes of a field, in the order of a dataset."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Of a field."""

RESERVED = (*schema.VARIABLES, *AXES, "time", "committed")
"""What no further field may be called."""

EXAMPLES = """\
examples:
  Filtered fields of ten runs, one NetCDF file a run, psi with laplacian(psi) = +omega:
    eddyscope import les.h5 --psi 'run*.nc:psi' --pi 'run*.nc:sgs' --join member \\
        --scale psi=-1 --interval 0.5
  Vorticity of a full simulation, filtered here to two coarse grids, with its exact pi:
    mpirun -n 4 eddyscope import dns.h5 --omega-full 'omega_*.npy' --dims y,x \\
        --interval 0.5 --filter gaussian --n 32,64 --width 2
  Add --dry-run to see how all is understood before anything is written. A case then names the
  dataset ([base] dataset = "les.h5"); `eddyscope example own_data` writes one to begin with.

files: HDF5, NetCDF 3 and 4, .npy, .npz, .mat. Without :VARIABLE, the one that is called as the
field, or the only one. Axes, times and coordinates are those that the file names; .npy, .npz and
.mat name none, and .mat of MATLAB 7.3 has the axes in the opposite order: --dims x,y,sample.

signs and scales, as stored (give --scale NAME=FACTOR where yours differ):
  omega = dv/dx - du/dy,  laplacian(psi) = -omega,  u = dpsi/dy,  v = -dpsi/dx
  pi = J(omega_bar, psi_bar) - bar(J(omega, psi)): added to the right-hand side of the LES
"""


@dataclass(frozen=True)
class Request:
    """What is to become a dataset, and how it is meant."""

    out: Path
    sources: Mapping[str, Sequence[str]]
    """Field -> the words FILE[:VARIABLE] that say where it stands."""
    full: bool = False
    """Whether the one source is vorticity at full resolution, to be filtered."""
    dims: tuple[str, ...] = ()
    """Names of the axes in all files; empty where the files name them."""
    join: str = "sample"
    """The axis along which several files of a field follow one another."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """Field -> what its numbers are multiplied by."""
    box: Box = field(default_factory=Box)
    length_given: bool = False
    """Whether the box's sides are given, and not those that are taken otherwise."""
    interval: float | None = None
    """Time between samples; None where the files tell the times."""
    start: float = 0.0
    """Time of the first sample, where the files do not tell it."""
    filter: str = "gaussian"
    n: tuple[int, ...] = ()
    """Coarse grids to filter to."""
    width: float | None = None
    """Filter width in spacings of the coarse grid."""
    precision: str = "float32"
    tolerance: float = 1e-3
    """Largest relative deviation of the velocities of psi from those of omega."""

    @classmethod
    def of(cls, found: argparse.Namespace) -> Request:
        """What parsed arguments say. CaseError where they do not go together."""
        sources = {name: words for name in schema.VARIABLES if (words := getattr(found, name))}
        sources |= _named(found.field or [])
        full = found.omega_full is not None
        _check_sources(sources, full, found)
        if full:
            sources = {"omega": found.omega_full}
        given = {
            key: value
            for key in ("dims", "join", "interval", "start", "filter", "n", "width", "precision",
                        "tolerance")
            if (value := getattr(found, key)) is not None
        }  # fmt: skip
        if "start" in given and "interval" not in given:
            raise CaseError("--start goes with --interval, the time between samples: give both")
        walls = found.walls or []
        box = Box(found.length or (BOX, BOX), ("y" not in walls, "x" not in walls))
        scales = _scales(found.scale or [], sources)
        given["length_given"] = found.length is not None
        return cls(found.out, sources, full=full, scales=scales, box=box, **given)


def _check_sources(
    sources: Mapping[str, Sequence[str]], full: bool, found: argparse.Namespace
) -> None:
    """CaseError where fields are missing, or exclude one another."""
    if full and sources:
        raise CaseError(
            f"--omega-full is filtered here, and gives psi, omega and pi itself: leave "
            f"{_options(sources)} out, or import filtered fields without --omega-full"
        )
    if full and not found.n:
        raise CaseError("--omega-full: to which coarse grids? give --n, as in --n 32,64")
    if full:
        return
    if found.n or found.filter:
        raise CaseError(
            "--n and --filter are for --omega-full, vorticity that is filtered here; fields that "
            "are filtered already are taken as they are"
        )
    if not {"psi", "omega"} & sources.keys() or len(sources) < 2:
        given = f"given: {_options(sources)}" if sources else "none is given"
        raise CaseError(
            "fields are missing: give --psi or --omega or both, with --pi or another --field to "
            f"learn; or --omega-full alone ({given})"
        )
    if not sources.keys() - {"psi", "omega"}:
        raise CaseError(
            "there is nothing to learn: give --pi, the subgrid term, or another --field; or "
            "--omega-full, from which pi is computed"
        )


def _options(names: Mapping[str, object]) -> str:
    return ", ".join(f"--{n}" if n in schema.VARIABLES else f"--field {n}" for n in names)


def _named(words: Sequence[Sequence[str]]) -> dict[str, Sequence[str]]:
    """The fields of --field NAME=FILE[:VARIABLE] …"""
    fields: dict[str, Sequence[str]] = {}
    for first, *more in words:
        name, equals, file = first.partition("=")
        if not equals or not file or not NAME.fullmatch(name):
            raise CaseError(f"--field {first}: give NAME=FILE[:VARIABLE], a name of letters")
        if name in RESERVED or name.endswith("_checksum"):
            raise CaseError(f"--field {first}: {name} means something else here; name it otherwise")
        if name in fields:
            raise CaseError(f"--field {name} is given twice; name several files in one option")
        fields[name] = [file, *more]
    return fields


def _scales(words: Sequence[str], sources: Mapping[str, object]) -> dict[str, float]:
    """The factors of --scale NAME=FACTOR …"""
    scales: dict[str, float] = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in sources:
            raise CaseError(
                f"--scale {word}: no field {name!r} is given; given: {', '.join(sources)}"
            )
        if name in scales:
            raise CaseError(f"--scale {name} is given twice")
        try:
            scales[name] = float(text)
        except ValueError:
            scales[name] = math.nan
        if not math.isfinite(scales[name]) or scales[name] == 0.0:
            raise CaseError(f"--scale {word}: give NAME=FACTOR, a number other than 0, as psi=-1")
    return scales


# --- The command line --------------------------------------------------------------------------


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `eddyscope import`."""
    command.add_argument("out", metavar="OUT.h5", type=_out, help="the dataset to make; new")
    _add_fields(command.add_argument_group("fields, each FILE[:VARIABLE], several files, or 'a*'"))
    _add_meaning(command.add_argument_group("what the numbers mean"))
    _add_filter(command.add_argument_group("filtering of --omega-full"))
    _add_storing(command.add_argument_group("storing"))


def _add_fields(group: argparse._ArgumentGroup) -> None:
    texts = {
        "psi": "filtered streamfunction; computed from omega if left out",
        "omega": "filtered vorticity; computed from psi if left out, checked if both are given",
        "pi": "subgrid term of the vorticity equation",
        "omega-full": "vorticity at full resolution: filtered here, with its exact subgrid term",
    }
    for name, text in texts.items():
        group.add_argument(f"--{name}", metavar="FILE", nargs="+", help=text)
    group.add_argument(
        "--field", metavar=("NAME=FILE", "FILE"), nargs="+", action="append",
        help="any further field, under this name",
    )  # fmt: skip


def _add_meaning(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--dims", metavar="A,B,…", type=_dims,
        help=f"the arrays' axes in order, of {', '.join(AXES)}, or any name for one of length 1 "
        "(default: as the file names them, time for sample; y,x for two axes without names)",
    )  # fmt: skip
    group.add_argument(
        "--join", choices=("sample", "member"),
        help="several files of a field follow one another along this axis, in the natural order "
        "of their names, 2 before 10 (default: sample)",
    )  # fmt: skip
    group.add_argument(
        "--scale", metavar="NAME=FACTOR", nargs="+", action="extend",
        help="what a field is multiplied by: a sign, units",
    )  # fmt: skip
    group.add_argument(
        "--length",
        metavar="L|Ly,Lx",
        type=_length,
        help="sides of the box (default: 2π; to be given where the file's x, y differ)",
    )
    group.add_argument(
        "--walls", nargs="+", choices=("y", "x"),
        help="axes along which the fields are not periodic (default: none); the first and the "
        "last points are on the walls",
    )  # fmt: skip
    group.add_argument(
        "--interval", metavar="T", type=_positive,
        help="time between samples (default: as the file's time says)",
    )  # fmt: skip
    group.add_argument(
        "--start", metavar="T", type=_number,
        help="time of the first sample, with --interval (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--tolerance", metavar="X", type=_positive,
        help="how far the velocities of psi and omega may be apart, relative (default: 1e-3)",
    )  # fmt: skip


def _add_filter(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--filter", metavar="KIND", help="gaussian, box or sharp (default: gaussian)"
    )
    group.add_argument(
        "--n", metavar="N,N,…", type=_grids, help="points a side of each coarse grid, even"
    )
    group.add_argument(
        "--width", metavar="X", type=_positive,
        help="filter width in spacings of the coarse grid (default: 2; of fields that are "
        "filtered already, to be told only: 1)",
    )  # fmt: skip


def _add_storing(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--precision", choices=("float32", "float64"), help="of the dataset (default: float32)"
    )
    group.add_argument(
        "--dry-run", action="store_true",
        help="say how all is understood, and try the first sample; write nothing",
    )  # fmt: skip


def _out(text: str) -> Path:
    if not Path(text).name:
        raise argparse.ArgumentTypeError("the file's name is empty; name one, as in data.h5")
    return Path(text)


def _dims(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if not 1e-30 < value < 1e30:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number greater than 0")
    return value


def _length(text: str) -> tuple[float, float]:
    sides = [_positive(word) for word in text.split(",")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text!r}: give one side, or two as Ly,Lx")
    return sides[0], sides[-1]


def _grids(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers, as 32,64") from None
