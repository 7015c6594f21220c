"""Arrays with a checksum of each of their blocks, verified whenever they are read.

Beside an array `psi` with dims (member, sample, y, x) stands `psi_checksum` with dims
(member, sample): the XXH3-64 of each block (y, x), as its bytes stand in the file. So any part
can be verified alone, at some 10 GB/s.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from eddyscope.config.arrays import AnyArray
from eddyscope.config.errors import CaseError
from eddyscope.storage.opening import REMAKE

__all__ = ["Checked", "checksum_name", "checksums", "read_checked"]

Index = tuple[int | slice, ...]
"""Of the axes that an array shares with its checksums, or the first of them."""


def checksum_name(name: str) -> str:
    """The array that holds the checksums of the array `name`."""
    return f"{name}_checksum"


def checksums(values: AnyArray, lead: int) -> NDArray[np.uint64]:
    """XXH3-64 of each block of an array; axes: the first `lead` ones of the array."""
    values = np.ascontiguousarray(values)
    sums = np.empty(values.shape[:lead], np.uint64)
    for index in np.ndindex(sums.shape):
        sums[index] = xxhash.xxh3_64_intdigest(values[index].data)
    return sums


def read_checked(group: h5py.Group, name: str, index: Index = ()) -> AnyArray:
    """The part `index` of the array `name` in an open file; CaseError where it is damaged.

    Not collective."""
    return Checked(group, name).read(index)


class Checked:
    """An array of an open file. Not collective."""

    def __init__(self, group: h5py.Group, name: str, often: bool = False):
        """often: whether it is read part by part, so that all checksums are best read at once.
        CaseError where it has none."""
        if name not in group or checksum_name(name) not in group:
            raise CaseError(
                f"{group.file.filename}: {group.name} has no {name} with checksums: made by "
                f"another program, or another version of this one; {REMAKE}"
            )
        self.path, self.name = group.file.filename, f"{group.name}/{name}"
        self.array, self.sums = group[name], group[checksum_name(name)]
        if often:
            self.sums = self.sums[()]

    def read(self, index: Index) -> AnyArray:
        """The part `index`; CaseError where it is damaged."""
        values, sums = np.asarray(self.array[index]), np.asarray(self.sums[index])
        wrong = np.argwhere(sums != checksums(values, sums.ndim))
        if len(wrong):
            raise CaseError(
                f"{self.path}: {self.name} is damaged ({len(wrong)} of {sums.size} blocks that "
                f"were read, the first at {_place(self.array, index, wrong[0])}): {REMAKE}"
            )
        return values


def _place(array: Any, index: Index, found: NDArray[np.int64]) -> tuple[int, ...]:
    """Where in the whole array a block stands that was found in the part `index` of it."""
    rest = iter(found.tolist())
    place = []
    for axis, part in enumerate(index):
        if isinstance(part, slice):
            place.append(range(*part.indices(array.shape[axis]))[next(rest)])
        else:
            place.append(part)
    return (*place, *rest)
