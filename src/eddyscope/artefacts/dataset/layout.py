"""The sizes and coordinates of a dataset, and the file that they make.

For each coarse grid a group `n064/` with psi, omega and pi, dims (member, sample, y, x), or
(member, sample, layer, y, x) where the flow has several layers, the time of each sample, and
whether it is committed; `spectra/` and `diagnostics/` of the unfiltered flow; `full/` with its
vorticity, if asked for. Beside every array stand the checksums of its blocks
(`storage/checked.py`), so that what a reader takes is verified alone.

An imported dataset (`artefacts/dataset/importer/`) may lack what its source does not know: spectra,
diagnostics, some of the fields; it may have others, and other boxes than 2π × 2π.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike

from eddyscope.artefacts.dataset import schema
from eddyscope.config.arrays import AnyArray, FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.spectral.grid import BOX
from eddyscope.storage.checked import checksum_name, checksums
from eddyscope.storage.image import LARGEST_FILE
from eddyscope.storage.variables import Attributes, Group, Parts, Tree, Variable

__all__ = ["Box", "Layout", "tree_of"]

PART = 2**16
"""Values that are made and written together while a file is laid out."""

PER_SAMPLE = ("member", "sample")
"""Dimensions of what there is one of a sample."""

OF_EACH_GROUP = ("system", "seed", "case_name", "case_hash", "code_version", "command")
"""Attributes of the file that its groups have too."""


@dataclass(frozen=True)
class Box:
    """The domain of a dataset's fields, along (y, x)."""

    length: tuple[float, float] = (BOX, BOX)
    periodic: tuple[bool, bool] = (True, True)
    told: tuple[tuple[float, ...] | None, tuple[float, ...] | None] = (None, None)
    """Coordinates between walls, where they are known."""

    def points(self, axis: int, n: int) -> FloatArray:
        """Coordinates of n points along axis 0 (y) or 1 (x): between walls those that are told, or
        else even ones, the first and the last on the walls."""
        told = self.told[axis]
        if told is not None:
            return np.asarray(told)
        spaces = n if self.periodic[axis] else max(1, n - 1)
        return np.asarray(np.arange(n) * (self.length[axis] / spaces), dtype=np.float64)

    def side(self, axis: int, points: Sequence[float] | None) -> float:
        """The length along an axis that has these points; that of the box if they are not told."""
        if points is None:
            return self.length[axis]
        spaces = len(points) - 1
        whole = (spaces + 1) / spaces if self.periodic[axis] else 1.0
        return abs(points[-1] - points[0]) * whole

    @property
    def attributes(self) -> Attributes:
        """What a dataset says of it; of the solver's own box it says nothing."""
        if self == Box():
            return {}
        return {"length": list(self.length), "periodic": [int(yes) for yes in self.periodic]}

    @classmethod
    def of(cls, attributes: Attributes) -> Box:
        """The box of a dataset with these attributes."""
        if "length" not in attributes:
            return cls()
        length = np.asarray(attributes["length"], dtype=np.float64)
        periodic = np.asarray(attributes["periodic"], dtype=bool)
        return cls((float(length[0]), float(length[1])), (bool(periodic[0]), bool(periodic[1])))

    def __str__(self) -> str:
        height, width = self.length
        walls = [axis for axis, round_ in zip("yx", self.periodic, strict=True) if not round_]
        return f"{width:.4g} x {height:.4g}" + (f", with walls along {walls[0]}" if walls else "")


@dataclass(frozen=True)
class Layout:
    """The sizes and coordinates of a dataset. Times may be formulas: none is asked for before the
    file is laid out."""

    members: int
    sample_times: Sequence[float]
    record_times: Sequence[float]
    n_shells: int
    """Shells of the spectra of the unfiltered flow; 0 where it is not known."""
    grids: Mapping[int, float]
    """Coarse grid n -> filter width Δ."""
    dtype: str = "float32"
    full: int | None = None
    """Points a side of the unfiltered vorticity, if it is written too."""
    layers: int = 1
    fields: Mapping[str, str] = field(default_factory=lambda: schema.VARIABLES)
    """Name of a field of every coarse grid -> what it is."""
    rows: int | None = None
    """Points along y of the coarse grids, where they are not n, which is those along x."""
    box: Box = Box()

    @property
    def samples(self) -> int:
        return len(self.sample_times)

    def member_bytes(self) -> int:
        """Bytes of the fields of one sample of one member."""
        points = sum((self.rows or n) * n for n in self.grids) * len(self.fields)
        points += (self.full or 0) ** 2
        return self.layers * points * np.dtype(self.dtype).itemsize

    def in_words(self, size: int) -> str:
        """What a file of `size` bytes holds."""
        return (
            f"dataset: {self.samples} samples, {size} bytes ({size / 2**20:.1f} MiB), "
            f"{self.samples * self.sample_bytes()} of them fields"
        )

    def sample_bytes(self) -> int:
        """Bytes of the fields of one sample of all members."""
        return self.members * self.member_bytes()

    def blocks(self, n: int, rows: int | None = None) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Dims and shape of one sample of one member on n × n points, or on rows × n."""
        shape = rows or n, n
        if self.layers == 1:
            return ("y", "x"), shape
        return ("layer", "y", "x"), (self.layers, *shape)


def tree_of(layout: Layout, attributes: Attributes) -> Tree:
    """The file of a dataset. CaseError where no file can hold it."""
    fields = layout.samples * layout.sample_bytes()
    if fields > LARGEST_FILE:
        raise CaseError(
            f"{layout.members} members x {layout.samples} samples make a dataset of "
            f"{fields / 2**60:.3g} EiB, more than any file can hold; lower ensemble.samples, "
            "ensemble.members or filter.n"
        )
    tree = {"": Group({}, _root(layout, attributes))}
    told = _of_each_group(attributes)
    for n, width in layout.grids.items():
        facts = {"n": n, "filter_width": width, **told}
        tree[schema.group_name(n)] = Group(_grid(layout, n), facts)
    if layout.full is not None:
        tree["full"] = Group(_full(layout, layout.full), told)
    if layout.record_times:
        tree["diagnostics"] = Group(_diagnostics(layout), told)
    if layout.n_shells:
        tree["spectra"] = Group(_spectra(layout), told)
    return tree


def _of_each_group(attributes: Attributes) -> Attributes:
    """What is told in each group too, since people open groups alone: signs, where it comes from,
    and that `time` is a coordinate."""
    known = {name: attributes[name] for name in OF_EACH_GROUP if name in attributes}
    return {"coordinates": "time", "sign_convention": schema.SIGN_CONVENTION, **known}


def _root(layout: Layout, attributes: Attributes) -> Attributes:
    return {
        "format": schema.FORMAT,
        "sign_convention": schema.SIGN_CONVENTION,
        "Conventions": "CF-1.8",
        **layout.box.attributes,
        **attributes,
    }


def _grid(layout: Layout, n: int) -> dict[str, Variable]:
    shape = (layout.members, layout.samples)
    fields: dict[str, Variable] = {}
    block = layout.blocks(n, layout.rows)
    for name, text in layout.fields.items():
        fields |= _sampled(layout, name, text, *block, dtype=layout.dtype, block=2)
    return {
        **_coordinates(layout, n, layout.rows),
        "time": _sample_times(layout),
        "committed": Variable(
            PER_SAMPLE, shape=shape, dtype="uint8", long_name="1 once the sample is on the disk"
        ),
        **fields,
    }  # fmt: skip


def _full(layout: Layout, n: int) -> dict[str, Variable]:
    text = "vorticity, unfiltered"
    block = layout.blocks(n)
    return {
        **_coordinates(layout, n),
        "time": _sample_times(layout),
        **_sampled(layout, "omega", text, *block, dtype=layout.dtype, block=2),
    }


def _spectra(layout: Layout) -> dict[str, Variable]:
    shells = np.arange(1.0, layout.n_shells + 1)
    spectra: dict[str, Variable] = {}
    for name, text in schema.SPECTRA.items():
        # Not a number until it is known, as diagnostics are.
        spectra |= _sampled(
            layout, name, text, ("wavenumber",), shells.shape, "float64", 1, initial=np.nan
        )
    return {
        **_members(layout),
        "sample": _sample_numbers(layout),
        "time": _sample_times(layout),
        "wavenumber": Variable(("wavenumber",), shells, long_name="wavenumber k"),
        **spectra,
    }


def _diagnostics(layout: Layout) -> dict[str, Variable]:
    records = len(layout.record_times)
    shape, dims = (layout.members, records), ("member", "record")
    unknown = checksums(np.full(len(schema.DIAGNOSTICS), np.nan), 0)
    return {
        **_members(layout),
        "record": Variable(
            ("record",), shape=(records,), dtype="int64", initial=_numbers(records), fixed=True,
            long_name="record number",
        ),
        "time": Variable(
            ("record",), shape=(records,), dtype="float64",
            initial=_times(layout.record_times, 1), fixed=True, long_name="time",
        ),
        **{
            name: Variable(
                dims, shape=shape, dtype="float64", initial=_constant(np.nan, shape),
                long_name=text,
            )
            for name, text in schema.DIAGNOSTICS.items()
        },
        schema.RECORD_CHECKSUM: Variable(
            dims, shape=shape, dtype="uint64", initial=_constant(unknown, shape),
            long_name="XXH3-64 of a record's numbers, in the order of the file",
        ),
    }  # fmt: skip


def _sampled(
    layout: Layout,
    name: str,
    text: str,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    block: int,
    initial: float | None = None,
) -> dict[str, Variable]:
    """An array with a part for each member and sample, of `dims` and `shape`, and the checksums of
    its blocks, which are the last `block` axes."""
    whole = (layout.members, layout.samples, *shape)
    begin = None if initial is None else _constant(initial, whole)
    return {
        name: Variable(
            (*PER_SAMPLE, *dims), shape=whole, dtype=dtype, long_name=text, initial=begin
        ),
        checksum_name(name): Variable(
            (*PER_SAMPLE, *dims[:-block]), shape=whole[:-block], dtype="uint64",
            long_name=f"XXH3-64 of {name}",
        ),
    }  # fmt: skip


def _coordinates(layout: Layout, n: int, rows: int | None = None) -> dict[str, Variable]:
    y, x = layout.box.points(0, rows or n), layout.box.points(1, n)
    layers = Variable(("layer",), np.arange(layout.layers), long_name="layer, from the top")
    return {
        **_members(layout),
        "sample": _sample_numbers(layout),
        **({"layer": layers} if layout.layers > 1 else {}),
        "y": Variable(("y",), y, long_name="coordinate y"),
        "x": Variable(("x",), x, long_name="coordinate x"),
    }


def _members(layout: Layout) -> dict[str, Variable]:
    return {"member": Variable(("member",), np.arange(layout.members), long_name="ensemble member")}


def _sample_numbers(layout: Layout) -> Variable:
    return Variable(
        ("sample",), shape=(layout.samples,), dtype="int64", initial=_numbers(layout.samples),
        fixed=True, long_name="sample number",
    )  # fmt: skip


def _sample_times(layout: Layout) -> Variable:
    return Variable(
        PER_SAMPLE, shape=(layout.members, layout.samples), dtype="float64",
        initial=_times(layout.sample_times, layout.members), fixed=True,
        long_name="time of the sample",
    )  # fmt: skip


# --- Values that arrays begin with -------------------------------------------------------------


def _numbers(count: int) -> Parts:
    """0, 1, …, count - 1."""
    return lambda: (
        np.arange(start, min(start + PART, count)) for start in range(0, count, PART)
    )  # fmt: skip


def _times(times: Sequence[float], repeats: int) -> Parts:
    """The times, so many times over."""
    return lambda: (
        np.array(times[start : start + PART])
        for _ in range(repeats)
        for start in range(0, len(times), PART)
    )


def _constant(value: float | AnyArray, shape: tuple[int, ...]) -> Parts:
    """The same value all over."""
    count = int(np.prod(shape, dtype=object))
    return lambda: (
        np.full(min(PART, count - start), value) for start in range(0, count, PART)
    )  # fmt: skip
