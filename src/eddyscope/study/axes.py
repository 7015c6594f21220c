"""Axes of a study: which settings are varied, and the points that their products give.

A study file names cases and blocks of axes; the union of the blocks' products is run:

    name = "shifts"
    cases = ["kf10_kf4.toml", "reynolds.toml"]
    [[axes]]
    training_seeds = [0, 1, 2, 3, 4]
    samples = [16]
    [[axes]]
    training_seeds = [0, 1, 2]
    samples = [1, 4, 64]

A case may have a block of its own, `[study]`, or several, `[[study.axes]]`; they go before the
file's. An axis is one of `AXES`, or any setting by its dotted name: transfer.batch_size = [4, 8].
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pydantic import Field, field_validator

from eddyscope.config.case import Section, load, merge, read_files
from eddyscope.config.errors import CaseError, did_you_mean
from eddyscope.config.provenance import digest
from eddyscope.parallel.stop import StopSettings

__all__ = ["AXES", "Point", "Study", "check_blocks", "points_of", "read_study"]

AXES = {
    "training_seeds": "training.seed",
    "transfer_seeds": "transfer.seed",
    "samples": "transfer.samples",
    "normalisations": "transfer.normalisation",
    "rates": "transfer.rates",
    "adaptations": "transfer.adaptations",
}
"""Axis -> the setting that it varies. `adaptations` gives layers and controls at once: each of its
values is a list such as ["each", "gain", "all"]. Of `rates`, a number is a list of one."""

ADAPTATIONS, RATES = AXES["adaptations"], AXES["rates"]

LAYER = re.compile(r"(each|pairs|first|last|l[0-9]{2,})(\+(first|last|l[0-9]{2,}))*")
"""Adaptations that are named by layers."""

LONGEST_VALUE = 40
"""Characters of a value in the name of a folder."""

MOST_POINTS = 10_000
"""Points of one case; more are taken for a slip."""

Block = Mapping[str, Sequence[object]]
"""Setting -> its values."""


@dataclass(frozen=True)
class Point:
    """One value of each axis."""

    values: tuple[tuple[str, object], ...]
    """(setting, value), in the order of the axes."""

    def value_of(self, axis: str, resolved: Mapping[str, object]) -> object:
        """Its value on an axis of a study, or else what its case has there."""
        found: object = resolved
        for part in axis.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return dict(self.values).get(axis, found)

    @property
    def overrides(self) -> list[str]:
        """As on the command line."""
        pairs = [pair for name, value in self.values for pair in _settings(name, value)]
        return [f"{name}={as_toml(value)}" for name, value in pairs]

    @property
    def name(self) -> str:
        """ "training.seed=0,transfer.samples=16": the name of a folder; "all" without axes."""
        return ",".join(f"{name}={_short(value)}" for name, value in self.values) or "all"


class Study(Section):
    """A study file, see the module."""

    name: str = Field(pattern=r"^[\w.-]*[\w-][\w.-]*$", max_length=100)
    """By default the output folder is runs/<name>."""
    cases: list[str] = Field(min_length=1)
    """Case files, relative to this one."""
    axes: list[dict[str, object]] = []
    """Blocks of axes; the union of their products is run of every case without its own [study]."""
    advise: bool = False
    """Whether the layers are ranked before they are re-trained."""
    stop: StopSettings = StopSettings()

    @field_validator("axes")
    @classmethod
    def _axes(cls, given: list[dict[str, object]]) -> list[dict[str, object]]:
        check_blocks({"axes": given})
        return given


def read_study(path: Path) -> Study:
    """The study of a study file, or of one case that has a section [study]; its cases are then
    paths that can be opened. Not collective. CaseError."""
    tree: dict[str, object] = {}
    for _, file in read_files(path):
        tree = merge(tree, file)
    if "cases" in tree:
        study = load(path, Study)
        again = sorted({name for name in study.cases if study.cases.count(name) > 1})
        if again:
            raise CaseError(f"{path}: cases names {again[0]!r} twice; name each case once")
        return study.model_copy(update={"cases": [str(path.parent / name) for name in study.cases]})
    if not isinstance(tree.get("study"), dict):
        raise CaseError(
            f'{path}: neither a study nor a case of one: it has no cases = ["…"], and no [study]'
        )
    return Study(name=str(tree.get("name", path.stem)), cases=[str(path)])


def check_blocks(tree: Mapping[str, object]) -> list[Block]:
    """The blocks of a table with axes, or with a list `axes` of such tables. CaseError for an axis
    that is not known, empty, or has a value twice."""
    given = tree.get("axes", [tree])
    if "axes" in tree and len(tree) > 1:
        raise CaseError(f"study.{next(k for k in tree if k != 'axes')} stands beside study.axes; "
                        "put it into one of its blocks, [[study.axes]]")  # fmt: skip
    if not isinstance(given, list) or not all(isinstance(block, dict) for block in given):
        raise CaseError("axes: give tables, as in [[axes]] and below it samples = [4, 16]")
    return [dict(_axis(*pair) for pair in _flat(block)) for block in given]


def points_of(blocks: Sequence[Block]) -> list[Point]:
    """The union of the products of the blocks, in their order; one point without axes. CaseError
    for too many."""
    found: dict[str, Point] = {}
    for block in blocks or [{}]:
        count = 1
        for values in block.values():
            count *= len(values)
        if count > MOST_POINTS:
            raise CaseError(f"axes: a product of {count} points; at most {MOST_POINTS} are taken")
        for values in product(*block.values()):
            point = Point(tuple(zip(block, values, strict=True)))
            found.setdefault(digest(sorted(point.values, key=lambda pair: pair[0])), point)
    return list(found.values())


def as_toml(value: object) -> str:
    """A value as a TOML file has it on one line. CaseError for what no setting can be."""
    if isinstance(value, bool | str | int):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        inside = (f"{json.dumps(str(key))} = {as_toml(entry)}" for key, entry in value.items())
        return f"{{{', '.join(inside)}}}"
    raise CaseError(f"axes: {value!r} is no value of a setting; give numbers, texts or tables")


def _flat(block: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """(dotted name, values): transfer.samples = [4] is a table in a table when it is read."""
    for name, value in block.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _axis(name: str, values: object) -> tuple[str, Sequence[object]]:
    """The setting that an axis varies, and its values."""
    if name not in AXES and "." not in name:
        hint = did_you_mean(name, AXES)
        raise CaseError(
            f"axes: no axis {name!r}; {hint + ' ' if hint else ''}axes: {', '.join(AXES)}, or any "
            "setting by its dotted name, as in transfer.batch_size = [4, 8]"
        )
    if not isinstance(values, list):
        raise CaseError(f"axes: {name} = {values!r} is no list; give [{values!r}]")
    if not values:
        raise CaseError(f"axes: {name} is empty; give a value, or leave it out")
    texts = [as_toml(value) for value in values]
    again = next((text for text in texts if texts.count(text) > 1), None)
    if again is not None:
        raise CaseError(f"axes: {name} has {again} twice; give each value once")
    return AXES.get(name, name), values


def _settings(name: str, value: object) -> list[tuple[str, object]]:
    """The settings that a value of an axis is."""
    if name == RATES and not isinstance(value, list):
        return [(name, [value])]
    if name != ADAPTATIONS:
        return [(name, value)]
    listed = value if isinstance(value, list) else [value]
    layers = [entry for entry in listed if isinstance(entry, str) and LAYER.fullmatch(entry)]
    return [
        ("transfer.layers", layers),
        ("transfer.controls", [entry for entry in listed if entry not in layers]),
    ]


def _short(value: object) -> str:
    """A value as part of a folder's name: letters, digits and a few signs; told apart by a digest
    where it would lose something."""
    text = value if isinstance(value, str) else as_toml(value)
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", text).strip("_")[:LONGEST_VALUE]
    return plain if plain == text else f"{plain}-{digest(text)[:6]}"
