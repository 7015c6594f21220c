"""Which samples of an ensemble train, validate and test; no sample does two of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from eddyscope.config.case import Section
from eddyscope.config.identity import CHANGES_NO_RESULT
from eddyscope.config.registry import Registry
from eddyscope.config.units import TIME

__all__ = [
    "PARTS",
    "SPLITS",
    "Block",
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


Parts = Mapping[str, list[Block]]
"""PARTS -> their blocks."""


@dataclass(frozen=True)
class Sampled:
    """What a split is made of: members with so many samples each, `interval` apart."""

    members: int
    samples: int
    interval: float

    def whole(self, members: range) -> list[Block]:
        """Members with all their samples."""
        return [Block(member, member, range(self.samples)) for member in members]


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
            part: list(self._blocks(part, samples, sampled.members))
            for part, samples in found.items()
        }

    def _blocks(self, part: str, samples: range, members: int) -> Iterator[Block]:
        """A part's blocks: one a member, or several of it to test on."""
        pieces = min(self.settings.blocks, len(samples)) if part == "test" else min(1, len(samples))
        number = 0
        for member in range(members):
            for piece in range(pieces):
                start, stop = (len(samples) * (piece + end) // pieces for end in (0, 1))
                yield Block(number, member, samples[start:stop], whole=False)
                number += 1


def _first_from(time: float, interval: float) -> int:
    """The first sample at `time` or later, where sample s is at s · interval."""
    return max(0, -int(-(time / interval - 1e-9) // 1))


SPLITS: Registry[Split] = Registry("split", {"members": ByMember, "time": ByTime})
