"""Samples of a dataset: which there are, reading them, and what a network is given of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.derived import require_fields, with_derived
from eddyscope.artefacts.dataset.reader import Dataset, Read
from eddyscope.artefacts.dataset.split import Block
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import IntArray, RealArray
from eddyscope.config.errors import CaseError
from eddyscope.networks.settings import Channels, field_of
from eddyscope.networks.shift import SHIFTED
from eddyscope.parallel.world import block

__all__ = [
    "Fields",
    "Samples",
    "Selection",
    "channels_of",
    "choose",
    "load_fields",
    "normalised_inputs",
]

PIECE = 2**24
"""Bytes of fields that a rank reads at a time where it goes through all of its samples."""


@dataclass(frozen=True)
class Fields:
    """Fields in physical units, float32, each (sample, layer, y, x), with their origin."""

    values: Mapping[str, RealArray]
    """Field -> its numbers."""
    origin: tuple[tuple[int, int], ...]
    """(member, sample) of each in the dataset."""
    blocks: tuple[Block, ...] = ()
    """The block that each is of; by default its member."""
    spectral: bool = True
    """Whether they are periodic, on as many points along y as along x."""

    @property
    def numbers(self) -> list[int]:
        """Number of the block that each is of."""
        return [b.number for b in self.blocks] if self.blocks else [m for m, _ in self.origin]

    def first(self, count: int) -> Fields:
        """The first `count` of them."""
        return self.part(slice(0, count))

    def part(self, chosen: slice) -> Fields:
        """Some of them."""
        values = {name: field[chosen] for name, field in self.values.items()}
        return replace(self, values=values, origin=self.origin[chosen], blocks=self.blocks[chosen])

    def channels(self, names: Sequence[str]) -> dict[str, RealArray]:
        """Channels, each (sample, y, x); see `networks.settings.channel_names`."""
        return channels_of(self.values, names)


def channels_of(values: Mapping[str, RealArray], names: Sequence[str]) -> dict[str, RealArray]:
    """Channels (sample, y, x) of fields (sample, layer, y, x), by name."""
    layers = next(iter(values.values())).shape[1]
    places = {name: field_of(name, layers) for name in names}
    return {name: values[field][:, layer] for name, (field, layer) in places.items()}


@dataclass(frozen=True)
class Samples:
    """Normalised float32 samples, (sample, channel, y, x): a network's inputs and targets."""

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, fields: Fields, normalisation: Normalisation, channels: Channels) -> Samples:
        targets = fields.channels(channels.outputs)
        return cls(
            normalised_inputs(normalisation, fields.values, channels),
            _stacked([normalisation.target(name, field) for name, field in targets.items()]),
        )

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """All samples of the parts, one part after the other."""
        inputs, targets = [p.inputs for p in parts], [p.targets for p in parts]
        return cls(torch.cat(inputs), torch.cat(targets))

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def bytes(self) -> int:
        return 4 * (self.inputs.numel() + self.targets.numel())

    @property
    def first(self) -> Samples:
        """A few, for trials; see `learning/supply.py` for this and what follows."""
        return Samples(self.inputs[:SHIFTED], self.targets[:SHIFTED])

    def at(self, places: IntArray) -> Samples:
        chosen = torch.from_numpy(places).to(self.inputs.device)
        return Samples(self.inputs[chosen], self.targets[chosen])

    def given(self, wanted: Iterable[IntArray]) -> Generator[Samples]:
        for _ in wanted:
            yield self

    def to(self, device: torch.device) -> Samples:
        return Samples(self.inputs.to(device), self.targets.to(device))


def normalised_inputs(
    normalisation: Normalisation, values: Mapping[str, RealArray], channels: Channels
) -> Tensor:
    """A network's input (sample, channel, y, x), of fields (sample, layer, y, x) by name: arrays,
    or tensors, whose device it is on."""
    given = channels_of(values, channels.inputs)
    return _stacked([normalisation.scaled(name, field) for name, field in given.items()])


def _stacked(channels: Sequence[RealArray]) -> Tensor:
    """Channels, each (sample, y, x), as one float32 tensor (sample, channel, y, x)."""
    if all(isinstance(c, np.ndarray) for c in channels):  # by this thread alone, torch has its own
        return torch.from_numpy(np.stack(channels, axis=1).astype(np.float32, copy=False))
    return torch.stack([torch.as_tensor(c) for c in channels], dim=1).to(torch.float32)


Place = tuple[int, int]
"""(member, sample) in a dataset."""


def choose(blocks: Sequence[Block], count: int | None) -> list[tuple[Block, Place]]:
    """`count` samples with their blocks: blocks in turn, the samples of each evenly in time.

    All of them if `count` is None. CaseError if there are too few.
    """
    available = sum(map(len, blocks))
    if count is None:
        count = available
    if count > available:
        raise CaseError(
            f"{count} samples are asked for, but there are {available}, of {len(blocks)} "
            f"member(s); ask for at most {available}, or simulate more"
        )
    shares = _shares([len(b) for b in blocks], count)
    return [
        (b, (b.member, b.samples[((2 * turn + 1) * len(b)) // (2 * shares[i])]))
        for turn in range(max(shares, default=0))
        for i, b in enumerate(blocks)
        if turn < shares[i]
    ]


def _shares(lengths: Sequence[int], count: int) -> list[int]:
    """How many samples each block gives: as many as the others, but for those that have less."""
    shares = [0] * len(lengths)
    while missing := count - sum(shares):
        open_ones = [i for i, length in enumerate(lengths) if shares[i] < length]
        for turn, i in enumerate(open_ones):
            part = block(missing, len(open_ones), turn)
            shares[i] = min(lengths[i], shares[i] + part.stop - part.start)
    return shares


Reader = Callable[[Sequence[int]], dict[str, RealArray]]
"""Reads samples by their places in a selection: field -> (sample, layer, y, x), float32."""


@dataclass(frozen=True)
class Selection:
    """Samples of a part of a dataset, in order; none of them is read yet."""

    dataset: Dataset
    n: int
    names: Sequence[str]
    """Of fields; those that the dataset does not hold are computed, see
    `artefacts/dataset/derived.py`."""
    chosen: Sequence[tuple[Block, Place]]

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        n: int,
        part: str,
        count: int | None = None,
        names: Sequence[str] = tuple(schema.VARIABLES),
    ) -> Selection:
        """`count` samples of a part ("train", "validation", "test") on grid `n`; see `choose`.
        CaseError where the dataset lacks samples or fields."""
        try:
            chosen = choose(dataset.parts[part], count)
        except CaseError as error:
            raise CaseError(f"{dataset.path} ({part}): {error}") from None
        where = str(dataset.path)
        require_fields(names, dataset.fields, dataset.box.periodic, dataset.layers, where)
        return cls(dataset, n, names, chosen)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def origin(self) -> tuple[Place, ...]:
        """(member, sample) of each in the dataset."""
        return tuple(place for _, place in self.chosen)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layer, y, x) of a field."""
        return (self.dataset.layers, *self.dataset.points[self.n])

    @cached_property
    def in_file(self) -> list[int]:
        """Places in the selection, in the order of the file."""
        return sorted(range(len(self)), key=self.origin.__getitem__)

    def slab(self, ranks: int, rank: int) -> list[int]:
        """What a rank reads where the ranks share the reading: neighbours in the file."""
        return self.in_file[block(len(self), ranks, rank)]

    def pieces(self, ranks: int, rank: int) -> list[list[int]]:
        """The slab of a rank, cut into what is read at a time."""
        slab, bytes_ = self.slab(ranks, rank), 4 * len(self.names) * math.prod(self.shape)
        size = max(1, PIECE // bytes_)
        return [slab[start : start + size] for start in range(0, len(slab), size)]

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Reads from a file that stays open, neighbours in one call. Not collective; CaseError
        where what is read is damaged."""
        stored = [name for name in self.names if name in self.dataset.fields]
        if len(stored) < len(self.names) and "psi" not in stored:
            stored.append("psi")
        with self.dataset.reading(self.n) as read:

            def fields(wanted: Sequence[int]) -> dict[str, RealArray]:
                given = {name: self._field(read, name, wanted) for name in stored}
                values = with_derived(given, self.names, self.dataset.box.length)
                return {name: np.asarray(field, np.float32) for name, field in values.items()}

            yield fields

    def shared_out(
        self, ranks: int, rank: int, channels: Sequence[str]
    ) -> Iterator[dict[str, RealArray]]:
        """Fields, each (sample, layer, y, x), and channels of them, (sample, y, x), of a rank's
        slab, piece by piece. Not collective. Raises CaseError."""
        with self.reading() as read:
            for piece in self.pieces(ranks, rank):
                fields = read(piece)
                yield channels_of(fields, channels) | fields

    def _field(self, read: Read, name: str, wanted: Sequence[int]) -> RealArray:
        """Field `name` of the samples `wanted`, (sample, layer, y, x), float32."""
        found = np.empty((len(wanted), *self.shape), np.float32)
        for member, first, rows in _runs([self.chosen[place][1] for place in wanted]):
            found[rows] = read(name, member, slice(first, first + len(rows)))
        return found


def _runs(places: Sequence[Place]) -> Iterator[tuple[int, int, list[int]]]:
    """Neighbours among places: (member, first sample, where in `places` they are)."""
    rows: list[int] = []
    for row in sorted(range(len(places)), key=places.__getitem__):
        member, sample = places[row]
        if rows and places[rows[-1]] != (member, sample - 1):
            yield (*places[rows[0]], rows)
            rows = []
        rows.append(row)
    if rows:
        yield (*places[rows[0]], rows)


def load_fields(
    dataset: Dataset,
    n: int,
    part: str,
    count: int | None = None,
    names: Sequence[str] = tuple(schema.VARIABLES),
) -> Fields:
    """Samples of a part, all read by this rank; see `Selection.of`. Not collective. Raises
    CaseError."""
    selection = Selection.of(dataset, n, part, count, names)
    with selection.reading() as read:
        values = read(range(len(selection)))
    blocks = tuple(b for b, _ in selection.chosen)
    return Fields(values, selection.origin, blocks, dataset.spectral)
