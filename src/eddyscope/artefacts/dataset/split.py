"""Which samples of an ensemble train, validate and test; no sample does two of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Protocol, overload

from pydantic import Field, model_validator

from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.registry import Registry
from eddyscope.config.units import TIME

__all__ = [
    "PARTS",
    "SPLITS",
    "Block",
    "Blocks",
    "ByMember",
    "ByTime",
    "Parts",
    "Sampled",
    "Split",
    "by_member",
]

PARTS = ("train", "validation", "test")
"""What samples are used for, in this order."""


@dataclass(frozen=True)
class Block:
    """Successive samples of one member."""

    number: int
    """By which it goes where test members are told apart: the member's own, where that is whole."""
    member: int
    samples: range
    """Their places in the dataset."""
    whole: bool = True
    """Whether these are all samples of the member."""

    def __len__(self) -> int:
        return len(self.samples)

    def __str__(self) -> str:
        if self.whole:
            return f"member {self.member}"
        return f"samples {self.samples.start}-{self.samples.stop - 1} of member {self.member}"


@dataclass(frozen=True)
class Blocks(Sequence[Block]):
    """The same pieces of the time of each of some members, member by member. A block is made when
    it is asked for: a case file may ask for more members than there is memory for."""

    members: range
    pieces: tuple[range, ...]
    """Places in the dataset of each piece's samples."""
    whole: bool
    """Whether a piece is all samples of its member."""

    def __len__(self) -> int:
        return len(self.members) * len(self.pieces)

    @overload
    def __getitem__(self, at: int) -> Block: ...
    @overload
    def __getitem__(self, at: slice) -> list[Block]: ...
    def __getitem__(self, at: int | slice) -> Block | list[Block]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        turn, piece = divmod(at % len(self), len(self.pieces))
        member = self.members[turn]
        number = member if self.whole else at % len(self)
        return Block(number, member, self.pieces[piece], self.whole)

    @property
    def samples(self) -> int:
        """Samples of all blocks together."""
        return len(self.members) * sum(map(len, self.pieces))


Parts = Mapping[str, Blocks]
"""PARTS -> their blocks."""


@dataclass(frozen=True)
class Sampled:
    """What a split is made of: members with so many samples each, `interval` apart."""

    members: int
    samples: int
    interval: float

    def whole(self, members: range) -> Blocks:
        """Members with all their samples."""
        return Blocks(members, (range(self.samples),), whole=True)


class Split(Protocol):
    """A way to split; made from its settings."""

    def parts(self, sampled: Sampled) -> Parts:
        """The blocks of each part. ValueError where it does not fit."""


class ByMember:
    """Members for training, validation and testing, in this order."""

    class Settings(Section):
        """A split of kind "members": how many members train, validate and test, in this order."""

        # Not a decision of its own: before there was another kind, none was written.
        kind: Annotated[Literal["members"], CHANGES_NO_RESULT] = "members"
        train: int = Field(ge=1)
        """Members to train on."""
        validation: int = Field(default=0, ge=0)
        """Members whose error is watched while training."""
        test: int = Field(ge=1)
        """Members that no training sees."""

    def __init__(self, settings: Settings):
        self.settings = settings

    def parts(self, sampled: Sampled) -> Parts:
        train, validation, test = (getattr(self.settings, part) for part in PARTS)
        if train + validation + test != sampled.members:
            raise ValueError(
                f"split has {train + validation + test} members in all, but members = "
                f"{sampled.members}; make train + validation + test equal to members"
            )
        return by_member(sampled, train, validation)


def by_member(sampled: Sampled, train: int, validation: int) -> Parts:
    """The first members train, the next validate, the rest test."""
    ends = (0, train, train + validation, sampled.members)
    spans = zip(PARTS, ends[:-1], ends[1:], strict=True)
    return {part: sampled.whole(range(start, stop)) for part, start, stop in spans}


class ByTime:
    """The time of every member cut in three, with gaps between."""

    class Settings(Section):
        """A split of kind "time": the sampled time of every member is cut in three, as one long run
        needs it; samples in the gaps are used for nothing."""

        kind: Literal["time"] = "time"
        train: float = Field(default=0.6, gt=0.0, lt=1.0)
        """Share of the time to train on, the first."""
        validation: float = Field(default=0.2, ge=0.0, lt=1.0)
        """Share of the time whose error is watched while training."""
        test: float = Field(default=0.2, gt=0.0, lt=1.0)
        """Share of the time that no training sees, the last."""
        gap: Annotated[float, TIME] = Field(ge=0.0)
        """Least time between samples of different parts: some times what the flow takes to forget
        its state. It is taken off the later part."""
        blocks: int = Field(default=4, ge=1)
        """Pieces, at the most, that a member's test time is cut into: they stand for test members
        in the evaluation."""

        @model_validator(mode="after")
        def _shares(self) -> ByTime.Settings:
            total = self.train + self.validation + self.test
            if abs(total - 1.0) > 1e-6:
                raise ValueError(f"train + validation + test = {total:g}; make it 1")
            return self

    def __init__(self, settings: Settings):
        self.settings = settings

    def parts(self, sampled: Sampled) -> Parts:
        settings = self.settings
        end = sampled.samples * sampled.interval
        borders = (0.0, settings.train * end, (settings.train + settings.validation) * end, end)
        found: dict[str, range] = {}
        for part, start, stop in zip(PARTS, borders[:-1], borders[1:], strict=True):
            gap = settings.gap if found else 0.0
            first = _first_from(start + gap, sampled.interval)
            found[part] = range(first, max(first, _first_from(stop, sampled.interval)))
            if getattr(settings, part) > 0.0 and not found[part]:
                raise ValueError(
                    f"gap = {settings.gap:g} leaves no sample for {part}: its share of the sampled "
                    f"time is {stop - start:.3g}, with a sample each {sampled.interval:g}; lower "
                    f"gap, raise {part}, or give more samples"
                )
        return {
            part: Blocks(range(sampled.members), self._pieces(part, samples), whole=False)
            for part, samples in found.items()
        }

    def _pieces(self, part: str, samples: range) -> tuple[range, ...]:
        """A part's samples of a member as one piece, or as several to test on."""
        count = min(self.settings.blocks if part == "test" else 1, len(samples))
        ends = [len(samples) * piece // count for piece in range(count + 1)] if count else [0]
        return tuple(samples[start:stop] for start, stop in pairwise(ends))


def _first_from(time: float, interval: float) -> int:
    """The first sample at `time` or later, where sample s is at s · interval."""
    return max(0, -int(-(time / interval - 1e-9) // 1))


SPLITS: Registry[Split] = Registry("split", {"members": ByMember, "time": ByTime})
