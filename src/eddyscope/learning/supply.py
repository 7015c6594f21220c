"""Where a training's samples come from: memory, or the file while it trains. The same numbers, in
the same order. Uses torch.

In memory a machine holds one copy, which its ranks share; each rank reads and verifies its own
slab of the file, once. Where that is too much, a thread of each rank reads the rank's part of the
next few batches while this one is in use.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch

from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import IntArray, RealArray
from eddyscope.learning.batches import Fields, Samples, Selection
from eddyscope.learning.sample_memory import AHEAD
from eddyscope.networks.settings import Channels
from eddyscope.networks.shift import SHIFTED
from eddyscope.parallel.failure import agree
from eddyscope.parallel.memory import shareable
from eddyscope.parallel.shared import shared_rows
from eddyscope.parallel.world import World

__all__ = ["Given", "Streamed", "Supply", "fields_in_memory", "in_memory"]


class Given(Protocol):
    """Samples at hand."""

    def at(self, places: IntArray) -> Samples:
        """Those at these places of all."""


class Supply(Protocol):
    """Samples of which not all need be at hand."""

    @property
    def first(self) -> Samples:
        """A few, for trials."""

    def __len__(self) -> int: ...

    def given(self, wanted: Iterable[IntArray]) -> Generator[Given]:
        """For each of these lists of places what has those samples, and the first of all. To be
        closed. Not collective; CaseError where one is damaged."""


@dataclass(frozen=True)
class Streamed:
    """Samples that are read while others are in use."""

    selection: Selection
    normalisation: Normalisation
    channels: Channels
    first: Samples

    @classmethod
    def of(
        cls, world: World, selection: Selection, normalisation: Normalisation, channels: Channels
    ) -> Streamed:
        """Collective. Raises CaseError."""

        def few() -> Samples:
            with selection.reading() as read:
                return _samples(read(range(min(SHIFTED, len(selection)))), normalisation, channels)

        return cls(selection, normalisation, channels, world.on_root(few))

    def __len__(self) -> int:
        return len(self.selection)

    def given(self, wanted: Iterable[IntArray]) -> Generator[Given]:
        first = self.first.at(np.zeros(1, np.int64))
        with self.selection.reading() as read, ThreadPoolExecutor(1, "samples") as thread:

            def load(places: Sequence[int]) -> Given:
                fresh = [place for place in places if place]
                found = _samples(read(fresh), self.normalisation, self.channels)
                rows = {0: 0} | {place: row for row, place in enumerate(fresh, 1)}
                return _Loaded(rows, Samples.joined([first, found]))

            lists = (places.tolist() for places in wanted)
            coming = deque(thread.submit(load, places) for places in islice(lists, AHEAD))
            try:
                while coming:
                    coming.extend(thread.submit(load, places) for places in islice(lists, 1))
                    yield coming.popleft().result()
            finally:
                thread.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Loaded:
    """What was read of a batch."""

    rows: Mapping[int, int]
    """Place of a sample -> where it lies in `samples`."""
    samples: Samples

    def at(self, places: IntArray) -> Samples:
        return self.samples.at(np.array([self.rows[place] for place in places.tolist()]))


@contextmanager
def in_memory(
    world: World, selection: Selection, normalisation: Normalisation, channels: Channels
) -> Iterator[Samples]:
    """All samples in memory for the time of a `with` block, one copy a machine. Collective, as
    `shared_rows` is. Raises CaseError."""
    points = selection.shape[-2:]
    sizes = [(len(names), *points) for names in (channels.inputs, channels.outputs)]

    def normalised(values: Mapping[str, RealArray]) -> list[RealArray]:
        found = _samples(values, normalisation, channels)
        return [found.inputs.numpy(), found.targets.numpy()]

    with _shared(world, selection, sizes, normalised) as (inputs, targets):
        yield Samples(torch.from_numpy(inputs), torch.from_numpy(targets))


@contextmanager
def fields_in_memory(world: World, selection: Selection) -> Iterator[Fields]:
    """All fields of a selection for the time of a `with` block, one copy a machine where that can
    be shared, else one a rank. Collective, as `shared_rows` is. Raises CaseError."""
    names = list(selection.names)
    blocks = tuple(block for block, _ in selection.chosen)
    about = selection.origin, blocks, selection.dataset.spectral
    size = 4 * len(selection) * len(names) * math.prod(selection.shape)
    if size > shareable(world.comm):
        with selection.reading() as read:
            values = agree(world.comm, lambda: read(range(len(selection))))
        yield Fields(values, *about)
        return
    sizes = [selection.shape for _ in names]
    with _shared(world, selection, sizes, lambda values: [values[n] for n in names]) as rows:
        yield Fields(dict(zip(names, rows, strict=True)), *about)


@contextmanager
def _shared(
    world: World,
    selection: Selection,
    sizes: Sequence[tuple[int, ...]],
    made: Callable[[Mapping[str, RealArray]], Sequence[RealArray]],
) -> Iterator[list[RealArray]]:
    """What is made of all samples, one copy a machine; each rank reads its slab of the file once.
    Collective. Raises CaseError.

    sizes: of a sample in each of the arrays; made: called with fields of some samples, gives these
    samples' part of each array.
    """
    with ExitStack() as stack:
        shared = [
            stack.enter_context(shared_rows(world.comm, (len(selection), *size))) for size in sizes
        ]

        def fill() -> None:
            with selection.reading() as read:
                for piece in selection.pieces(world.size, world.rank):
                    for (rows, _), part in zip(shared, made(read(piece)), strict=True):
                        rows[piece] = part

        agree(world.comm, fill)
        for _, spread in shared:
            spread(lambda rank: selection.slab(world.size, rank))
        yield [rows for rows, _ in shared]


def _samples(
    values: Mapping[str, RealArray], normalisation: Normalisation, channels: Channels
) -> Samples:
    """Normalised samples of fields, each (sample, layer, y, x)."""
    return Samples.of(Fields(values, ()), normalisation, channels)
