"""Where a field's numbers stand: files, variables, axes; and reading them block by block."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from eddyscope.artefacts.dataset.importer.request import AXES, Request
from eddyscope.config.arrays import FloatArray
from eddyscope.config.errors import CaseError
from eddyscope.storage.foreign import Foreign, ForeignArray, listed

__all__ = ["Blocks", "Part", "Stack", "find", "sample_times"]

SYNONYMS = {
    "member": ("member", "members", "ensemble", "run"),
    "sample": ("sample", "samples", "time", "t", "snapshot"),
    "layer": ("layer", "layers"),
    "y": ("y", "ny"),
    "x": ("x", "nx"),
}
"""Axis -> what files call it. Latitude and longitude are not among them: a plane has none."""

AXIS_OF = {word: axis for axis, words in SYNONYMS.items() for word in words}
"""What files call an axis -> the axis."""

Points = tuple[float, ...] | None
"""Coordinates or times, None where they are not told."""

UNEVEN = 1e-3
"""Difference of a spacing from the mean one, relative, above which points are not even."""

SAME_LENGTH = 1e-3
"""Relative difference of lengths that are the same."""

MEANING = "name the axes with --dims, as in --dims member,sample,y,x"
"""The way out where axes are not known."""


@dataclass(frozen=True)
class Part:
    """An array in one file."""

    path: Path
    variable: str
    axes: tuple[str, ...]
    """Of the array in the file, as AXES has them; "" for one of length 1 that means nothing."""
    shape: tuple[int, ...]
    """Lengths of AXES."""
    times: tuple[float, ...] | None = None
    """Of its samples, if the file tells them."""
    points: tuple[Points, Points] = (None, None)
    """Coordinates along (y, x), going up, where the file tells them."""
    reversed: tuple[bool, bool] = (False, False)
    """Whether they go down in the file, so that its points are taken the other way."""

    @property
    def name(self) -> str:
        return f"{self.path}:{self.variable}" if self.variable else str(self.path)

    def block(self, array: ForeignArray, member: int, sample: int) -> FloatArray:
        """One sample of one member, axes (layer, y, x)."""
        place = {"member": member, "sample": sample, "": 0}
        index = tuple(place.get(axis, slice(None)) for axis in self.axes)
        values = np.asarray(array.read(index), dtype=np.float64)
        kept = [axis for axis in self.axes if axis not in place]
        values = values.transpose([kept.index(axis) for axis in AXES if axis in kept])
        way = tuple(slice(None, None, -1 if down else None) for down in self.reversed)
        return values.reshape(self.shape[2:])[:, *way]


@dataclass(frozen=True)
class Stack:
    """A field: the arrays that make it, one after another along an axis."""

    field: str
    parts: tuple[Part, ...]
    axis: int
    """Of AXES, along which the parts follow one another."""
    scale: float

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of AXES."""
        lengths = list(self.parts[0].shape)
        lengths[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(lengths)

    @property
    def times(self) -> tuple[float, ...] | None:
        """Of the samples; None where the files do not tell them. CaseError where they differ
        between members, or do not increase."""
        found = [part.times for part in self.parts]
        if any(times is None for times in found):
            return None
        if AXES[self.axis] == "sample":
            times = tuple(time for times in found for time in times or ())
        elif len(set(found)) > 1:
            raise CaseError(
                f"{self.field}: {self.parts[0].path} and other files have samples at different "
                "times; give --interval, and --start"
            )
        else:
            times = found[0] or ()
        if not all(a < b for a, b in pairwise(times)):
            raise CaseError(
                f"{self.field}: the times of the samples do not increase, in {self.parts[0].path} "
                "or from one file to the next; give --interval, and --start"
            )
        return times

    def part_of(self, member: int, sample: int) -> tuple[Part, int, int]:
        """The part with one sample of one member, and their numbers in it."""
        place = [member, sample]
        for part in self.parts:
            length = part.shape[self.axis]
            if place[self.axis] < length:
                return part, place[0], place[1]
            place[self.axis] -= length
        raise IndexError((member, sample))


class Blocks:
    """Reads fields sample by sample, one file of each held open. Use in a `with` block. Not
    collective."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Part, ForeignArray, ExitStack]] = {}

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *_: object) -> None:
        for _part, _array, opened in self._open.values():
            opened.close()

    def read(self, stack: Stack, member: int, sample: int) -> FloatArray:
        """One sample of one member, axes (layer, y, x), scaled. CaseError where it cannot be read,
        or is not finite."""
        part, m, s = stack.part_of(member, sample)
        values = part.block(self._array(stack.field, part), m, s)
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            raise CaseError(
                f"{part.name}: {bad} of the {values.size} numbers of {stack.field} in member "
                f"{member}, sample {sample} are missing or not finite; fill or leave out what is "
                "not known"
            )
        values *= stack.scale
        return values

    def _array(self, field: str, part: Part) -> ForeignArray:
        if field in self._open and self._open[field][0] is not part:
            self._open.pop(field)[2].close()
        if field not in self._open:
            opened = ExitStack()
            file = opened.enter_context(Foreign.opened(part.path))
            array = file.array(part.variable)
            self._open[field] = part, array, opened
        return self._open[field][1]


def sample_times(request: Request, stacks: Mapping[str, Stack]) -> tuple[float, ...]:
    """When the samples were taken. CaseError where neither request nor files tell."""
    samples = next(iter(stacks.values())).shape[1]
    if request.interval is not None:
        return tuple(request.start + request.interval * s for s in range(samples))
    told = {name: times for name, stack in stacks.items() if (times := stack.times) is not None}
    for name, times in told.items():
        first = next(iter(told))
        if not np.allclose(times, told[first], rtol=1e-6, atol=0.0):
            raise CaseError(
                f"{first} and {name} have samples at different times; give fields of the same "
                "samples, or --interval where the files' times do not matter"
            )
    if told:
        return next(iter(told.values()))
    if samples == 1:
        return (0.0,)
    raise CaseError(
        f"when were the {samples} samples taken? the files do not tell; give --interval, the time "
        "between samples"
    )


# --- Finding them ------------------------------------------------------------------------------


def find(request: Request) -> dict[str, Stack]:
    """Field -> where it stands. Reads headers alone. Not collective. CaseError where something is
    missing, or is not what a field is, or the fields have different shapes."""
    stacks = {name: _stack(name, words, request) for name, words in request.sources.items()}
    _require_length(request, stacks)
    first, *others = stacks.values()
    for other in others:
        if other.shape != first.shape:
            raise CaseError(
                f"{first.field} and {other.field} differ in shape: {_told(first.shape)} in "
                f"{first.parts[0].name}, {_told(other.shape)} in {other.parts[0].name}; give the "
                "same members, samples and points of both"
            )
    return stacks


def _told(shape: tuple[int, ...]) -> str:
    return ", ".join(f"{axis} {length}" for axis, length in zip(AXES, shape, strict=True))


def _stack(field: str, words: Sequence[str], request: Request) -> Stack:
    places = sorted({place for word in words for place in _places(field, word)}, key=_natural)
    parts = tuple(_part(field, path, variable, request) for path, variable in places)
    axis = AXES.index(request.join)
    first = parts[0]
    for part in parts[1:]:
        rest = [lengths[:axis] + lengths[axis + 1 :] for lengths in (first.shape, part.shape)]
        if rest[0] != rest[1]:
            raise CaseError(
                f"{field}: {first.name} has {_told(first.shape)}, but {part.name} has "
                f"{_told(part.shape)}; files that follow one another along {request.join} must be "
                "alike in all else (--join names the axis)"
            )
    return Stack(field, parts, axis, request.scales.get(field, 1.0))


def _natural(place: tuple[Path, str]) -> list[tuple[int, int, str]]:
    """So that 2 comes before 10."""
    parts = re.split(r"(\d+)", f"{place[0]}:{place[1]}")
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _places(field: str, word: str) -> list[tuple[Path, str]]:
    """The files, and their variable, that FILE[:VARIABLE] names. CaseError for none."""
    file, _, variable = word.rpartition(":")
    for name, of_variable in ((word, ""), (file, variable)):
        found = [name] if os.path.exists(name) else sorted(glob.glob(name, recursive=True))
        if name and found:
            return [(Path(path), of_variable) for path in found]
    if glob.has_magic(word):
        raise CaseError(f"{field}: no file matches {word}; mind the folder, and quote the pattern")
    raise CaseError(f"{field}: {word}: no such file; give FILE or FILE:VARIABLE")


def _part(field: str, path: Path, variable: str, request: Request) -> Part:
    with Foreign.opened(path) as file:
        name = _variable(field, file, variable)
        array = file.array(name)
        where = f"{path}:{name}" if name else str(path)
        _check_numbers(field, where, array)
        axes = _axes(where, array, request.dims)
        lengths = dict(zip(axes, array.shape, strict=True))
        shape = tuple(lengths.get(axis, 1) for axis in AXES)
        if 0 in shape:
            raise CaseError(f"{where}: is empty: {_told(shape)}; give an array with numbers in it")
        times = None
        if not request.interval:
            times = _coordinate(file, name, array, axes, "sample")
        told = [_points(where, _coordinate(file, name, array, axes, a), a, request) for a in "yx"]
    down = [points is not None and points[0] > points[-1] for points in told]
    up = [p and tuple(sorted(p)) for p in told]
    return Part(path, name, axes, shape, times, (up[0], up[1]), (down[0], down[1]))


def _variable(field: str, file: Foreign, given: str) -> str:
    """The variable's full name in the file."""
    if given:
        return given.strip("/")
    for choice in ([field], file.names, [n for n in file.names if len(file.array(n).shape) > 1]):
        fitting = [name for name in choice if name in file.names]
        if len(fitting) == 1:
            return fitting[0]
    raise CaseError(
        f"{file.path}: which of its variables is {field}? it has {listed(file.names)}; give "
        f"{file.path}:VARIABLE"
    )


def _check_numbers(field: str, where: str, array: ForeignArray) -> None:
    """CaseError unless the array holds real numbers."""
    kind = array.dtype.kind
    if kind == "c":
        raise CaseError(
            f"{where}: holds complex numbers; give fields on points, not Fourier coefficients"
        )
    packed = "scale_factor" in array.attributes
    whole = kind in "iu" and (packed or field not in ("psi", "omega", "pi"))
    if kind != "f" and not whole:
        raise CaseError(f"{where}: holds {array.dtype}; give floating-point numbers")


def _axes(where: str, array: ForeignArray, given: tuple[str, ...]) -> tuple[str, ...]:
    """What each axis of the array is."""
    count = len(array.shape)
    if given and len(given) != count:
        raise CaseError(
            f"{where}: --dims names {len(given)} axes, but the array has {count}, of shape "
            f"{array.shape}; name each of them"
        )
    names = given or array.dims
    if not any(names):
        if count != 2:
            raise CaseError(
                f"{where}: the file does not name the {count} axes of its shape {array.shape}; "
                f"{MEANING if count > 2 else 'give an array with axes y and x'}"
            )
        return "y", "x"
    axes = [AXIS_OF.get(name.lower(), "") for name in names]
    for axis, name, length in zip(axes, names, array.shape, strict=True):
        if not axis and length != 1:
            raise CaseError(
                f"{where}: what is the axis {name!r} of length {length}? known: "
                f"{', '.join(AXIS_OF)}; {MEANING}"
            )
        if axis and axes.count(axis) > 1:
            raise CaseError(f"{where}: two axes are {axis}: {', '.join(names)}; {MEANING}")
    if "y" not in axes or "x" not in axes:
        raise CaseError(f"{where}: has no axes y and x among {', '.join(names)}; {MEANING}")
    return tuple(axes)


def _coordinate(
    file: Foreign, name: str, array: ForeignArray, axes: tuple[str, ...], axis: str
) -> Points:
    """What a variable of the axis's name in the file says of its places; None without one."""
    if axis not in axes:
        return None
    place = axes.index(axis)
    group, called = name.rpartition("/")[0], array.dims[place]
    for told in (f"{group}/{called}".lstrip("/"), called):
        if called and told in file.names and called not in ("sample", "member"):
            values = file.array(told)
            if values.shape == (array.shape[place],) and values.dtype.kind in "iuf":
                return tuple(float(value) for value in values.read())
    return None


def _points(where: str, points: Points, axis: str, request: Request) -> Points:
    """Coordinates that can be those of points along y or x. CaseError for others: not in order, or
    not even on a periodic axis."""
    if points is None or len(points) < 2:
        return None
    steps = np.diff(points)
    mean = float(steps.mean())
    if not np.all(steps * mean > 0.0):
        raise CaseError(
            f"{where}: the points along {axis} are not in order; give fields on points that go up, "
            "or down, all the way"
        )
    even = np.all(np.abs(steps - mean) < UNEVEN * abs(mean))
    if not even and request.box.periodic["yx".index(axis)]:
        raise CaseError(
            f"{where}: the points along {axis} are not evenly spaced, as they are on a periodic "
            f"axis; interpolate the fields to even distances, or give --walls {axis}"
        )
    return points


def _require_length(request: Request, stacks: Mapping[str, Stack]) -> None:
    """CaseError where the files' coordinates tell other sides of the box than are taken because
    none were given."""
    if request.length_given:
        return
    parts = [part for stack in stacks.values() for part in stack.parts]
    for part in parts:
        told = [request.box.side(axis, points) for axis, points in enumerate(part.points)]
        sides = ",".join(f"{side:.6g}" for side in told)
        for axis, side, taken in zip("yx", told, request.box.length, strict=True):
            if abs(side / taken - 1.0) > SAME_LENGTH:
                raise CaseError(
                    f"{part.name}: {axis} goes over {side:.6g} in the file, but no --length is "
                    f"given, and 2π would be taken; give --length {sides} if that is so"
                )
