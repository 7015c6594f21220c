"""Random numbers keyed by what they are for, never by rank or by what was drawn before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["integer_seed", "stream"]

PURPOSES = {
    "order": 1,
    "rotation": 2,
    "weights": 3,
    "adaptation": 4,
    "system": 5,
    "phases": 6,
    "kicks": 7,
    "training": 8,
    "reflection": 9,
    "noise": 10,
    "bootstrap": 11,
    "probe": 12,
}
"""What a stream is for; part of its key, so that streams of one seed are independent."""


def stream(purpose: str, *key: int) -> np.random.Generator:
    """The counter-based generator of `purpose` under `key`; the same on every rank."""
    return np.random.Generator(np.random.Philox(_sequence(purpose, key)))


def integer_seed(purpose: str, *key: int) -> int:
    """A 63-bit seed for other libraries' generators, from `purpose` and `key`."""
    return int(_sequence(purpose, key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _sequence(purpose: str, key: Sequence[int]) -> np.random.SeedSequence:
    # The length goes first: SeedSequence takes (1, 2) and (1, 2, 0) for the same.
    return np.random.SeedSequence([PURPOSES[purpose], len(key), *key])
