"""Members, or the time of each, split into what trains, validates and tests."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from eddyscope.artefacts.dataset.schema import EnsembleSettings
from eddyscope.config.identity import deciding


def ensemble(members: int = 1, samples: int = 50, interval: float = 0.5, **split: object):
    given = {"members": members, "samples": samples, "interval": interval}
    return EnsembleSettings.model_validate({**given, **({"split": split} if split else {})})


def test_members_are_dealt_in_order():
    parts = ensemble(6, train=3, validation=1, test=2).parts
    numbers = {part: [b.number for b in blocks] for part, blocks in parts.items()}
    assert numbers == {"train": [0, 1, 2], "validation": [3], "test": [4, 5]}
    assert all(b.whole and list(b.samples) == list(range(50)) for b in parts["test"])
    assert str(parts["test"][1]) == "member 5"


def test_a_split_by_members_decides_what_it_always_has():
    assert deciding(ensemble(6, train=3, validation=1, test=2))["split"] == {
        "train": 3,
        "validation": 1,
        "test": 2,
    }


@pytest.mark.parametrize("gap", [0.0, 0.3, 0.5, 2.0])
@pytest.mark.parametrize("members", [1, 3])
def test_parts_of_the_time_are_a_gap_apart(members: int, gap: float):
    split = ensemble(members, kind="time", train=0.6, validation=0.2, test=0.2, gap=gap, blocks=2)
    times = np.arange(50) * 0.5
    spans = {part: [times[b.samples] for b in blocks] for part, blocks in split.parts.items()}
    for member in range(members):
        mine = {
            part: [t for b, t in zip(split.parts[part], spans[part], strict=True)
                   if b.member == member]
            for part in spans
        }  # fmt: skip
        train, validation, test = (np.concatenate(mine[part]) for part in mine)
        assert train[0] == 0.0 and test[-1] == times[-1]
        assert validation[0] - train[-1] >= max(gap, 0.5) - 1e-12
        assert test[0] - validation[-1] >= max(gap, 0.5) - 1e-12
        assert len(mine["test"]) == 2
        if gap == 0.0:
            assert len(train) + len(validation) + len(test) == 50
    numbers = [b.number for b in split.parts["test"]]
    assert numbers == list(range(2 * members))


def test_a_piece_says_where_it_lies():
    split = ensemble(kind="time", gap=1.0, blocks=2)
    assert str(split.parts["test"][1]) == "samples 46-49 of member 0"
    assert split.count("train") == 30


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"gap": 6.0}, "gap = 6 leaves no sample for validation"),
        ({"gap": 0.0, "train": 0.9}, "make it 1"),
        ({}, "gap"),
        ({"gap": 0.0, "train": 0.999, "validation": 0.0, "test": 0.001}, "no sample for test"),
    ],
)
def test_splits_that_leave_nothing_are_refused(split: dict, words: str):
    with pytest.raises(ValidationError, match=words):
        ensemble(kind="time", **split)
