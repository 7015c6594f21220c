"""Samples in memory: the same on every rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from eddyscope.artefacts.dataset import schema
from eddyscope.artefacts.dataset.derived import require_fields, with_derived
from eddyscope.artefacts.dataset.reader import Dataset
from eddyscope.artefacts.dataset.split import Block
from eddyscope.artefacts.normalisation import Normalisation
from eddyscope.config.arrays import RealArray
from eddyscope.config.errors import CaseError
from eddyscope.networks.settings import Channels, field_of
from eddyscope.parallel.world import block

__all__ = ["Fields", "Samples", "channels_of", "choose", "load_fields", "normalised_inputs"]


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


def load_fields(
    dataset: Dataset,
    n: int,
    part: str,
    count: int | None = None,
    names: Sequence[str] = tuple(schema.VARIABLES),
) -> Fields:
    """`count` samples of a part ("train", "validation", "test") on grid `n`; see `choose`.

    names: of fields; those that the dataset does not hold are computed, see
    `artefacts/dataset/derived.py`. Not collective. Raises CaseError.
    """
    try:
        chosen = choose(dataset.parts[part], count)
    except CaseError as error:
        raise CaseError(f"{dataset.path} ({part}): {error}") from None
    origin = [place for _, place in chosen]
    require_fields(names, dataset.fields, dataset.box.periodic, dataset.layers, str(dataset.path))
    stored = [name for name in names if name in dataset.fields]
    if len(stored) < len(names) and "psi" not in stored:
        stored.append("psi")
    given = {name: _read(dataset, n, name, origin) for name in stored}
    values = with_derived(given, names, dataset.box.length)
    return Fields(
        {name: np.asarray(field, dtype=np.float32) for name, field in values.items()},
        tuple(origin),
        tuple(b for b, _ in chosen),
        dataset.spectral,
    )


def _read(dataset: Dataset, n: int, name: str, origin: Sequence[tuple[int, int]]) -> RealArray:
    """Field `name` of the samples `origin`, (sample, layer, y, x), float32."""
    chosen: dict[tuple[int, int], RealArray] = {}
    for member in dict.fromkeys(m for m, _ in origin):
        times = [s for m, s in origin if m == member]
        span = slice(min(times), max(times) + 1)
        read = dataset.read(n, name, [member], span)[0]
        chosen |= {(member, s): read[s - span.start] for s in times}
    if not origin:
        return np.empty((0, dataset.layers, *dataset.points[n]), np.float32)
    return np.stack([chosen[place] for place in origin]).astype(np.float32)
