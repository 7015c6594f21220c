"""The rate and the steps of a re-training, chosen on samples held out of the few there are.

For every rate of a grid the model is trained on the other samples along the whole schedule, and its
error on those held out, ⟨(p − Π)²⟩ / ⟨Π²⟩ in physical units, is measured on the way; the mean over
folds decides. Test members have no part in it. Imports no torch; the trainings are in `search.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eddyscope.artefacts.model import CONVERGED, Chosen, ModelRecord, Tried
from eddyscope.config.errors import CaseError
from eddyscope.learning.recipe import Recipe
from eddyscope.learning.schedule import passed
from eddyscope.learning.settings import TransferSettings, middle

__all__ = [
    "POINTS",
    "Choosing",
    "Fold",
    "chosen",
    "count_of_folds",
    "folds_of",
    "judged",
    "others",
    "went_astray",
]

ONE_SPLIT = 16
"""Samples from which on one split will do."""
EVERY = 4
"""One of so many samples is held out of one split; folds are as many where samples are fewer."""
POINTS = 20
"""Along the schedule at which the held-out error is measured, besides its beginning."""
SAME = 1e-3
"""Relative difference of two errors below which they count as equal: rounding on another number of
ranks must not decide."""

FAR = 0.7
"""Share of the way that the rates allow from which on a training counts as held back by it."""
FALLS, GAINS = 0.02, 0.01
"""Fall of the held-out error over the last quarter of the steps, and from the last rate but one to
the largest, above which more steps or a larger rate would do better."""


@dataclass(frozen=True)
class Fold:
    """Numbers of the samples that are trained on, and of those held out."""

    trained: tuple[int, ...]
    held_out: tuple[int, ...]


def count_of_folds(samples: int, folds: int | None) -> int:
    """Folds of so many samples; folds: as the case says. 0 where none can be held out.

    Raises CaseError for more folds than samples.
    """
    if samples == 1:
        return 0
    if folds is None:
        return 1 if samples >= ONE_SPLIT else min(EVERY, samples)
    if folds > samples:
        raise CaseError(
            f"transfer.folds = {folds}, but transfer.samples = {samples}; set at most {samples}"
        )
    return folds


def folds_of(origin: Sequence[tuple[int, int]], folds: int | None) -> list[Fold]:
    """Folds of samples, origin: (member, sample) of each; the same for whatever is adapted.

    Samples are taken in the order of their members and times, so that those held out are of all
    members. One fold holds out one sample of `EVERY`, several each theirs in turn.
    """
    order = sorted(range(len(origin)), key=lambda number: origin[number])
    count = count_of_folds(len(order), folds)
    every = min(EVERY, len(order)) if count == 1 else count
    result = []
    for fold in range(count):
        first = every - 1 if count == 1 else fold
        held_out = order[first::every]
        result.append(Fold(tuple(sorted(set(order) - set(held_out))), tuple(sorted(held_out))))
    return result


@dataclass(frozen=True)
class Choosing:
    """What the re-trainings of a case are chosen from."""

    rates: Sequence[float]
    folds: Sequence[Fold]
    """Of the target's samples; none where nothing can be held out."""
    recipes: Sequence[str]
    """How models are trained; keys name it where there are several, but for the first."""

    @classmethod
    def of(cls, transfer: TransferSettings, origin: Sequence[tuple[int, int]]) -> Choosing:
        """As a case says, for samples of this origin, see `folds_of`."""
        return cls(transfer.grid, folds_of(origin, transfer.folds), transfer.recipes)

    @property
    def trials(self) -> int:
        """Trainings that a choice takes."""
        return len(self.rates) * len(self.folds)


def chosen(
    curves: Mapping[float, Sequence[float] | None],
    points: Sequence[int],
    held_out: int,
    astray: Mapping[float, float] | None = None,
) -> Chosen | None:
    """The rate and the steps of the least held-out error; None where no training stayed finite.

    curves: rate -> held-out error at each of the `points`, which are steps, 0 the first; None where
    that training was no longer finite. astray: rates that are not to be taken, see `Tried`. Of
    errors that are about equal that of the fewest steps counts, then the least. Where that is no
    step at all the rate is the one in the middle.
    """
    lost = astray or {}
    found = {rate: c for rate, c in curves.items() if c is not None and rate not in lost}
    tried = [
        (error, step, rate)
        for rate, curve in found.items()
        for step, error in zip(points, curve, strict=True)
        if math.isfinite(error)
    ]
    if not tried:
        return None
    least = min(error for error, _, _ in tried)
    equal = [each for each in tried if each[0] <= least * (1.0 + SAME)]
    error, steps, rate = min(equal, key=lambda each: (each[1], each[0], each[2]))
    if not steps:
        rate = middle([*found])
    return Chosen(
        rate=rate,
        steps=steps,
        error=error,
        held_out=held_out,
        points=list(points),
        curve=list(found[rate]),
        tried=[
            _tried(rate, curve, points).model_copy(update={"astray": lost.get(rate)})
            for rate, curve in curves.items()
        ],
    )


def others(choice: Chosen) -> list[float]:
    """Rates that could be taken in place of the one that was."""
    fit = [each for each in choice.tried if each.error is not None and each.astray is None]
    return [each.rate for each in fit if each.rate != choice.rate]


def went_astray(choice: Chosen, error: float) -> Chosen:
    """The choice with the error of the training at its own rate, which went astray."""
    told = [
        each.model_copy(update={"astray": error}) if each.rate == choice.rate else each
        for each in choice.tried
    ]
    return choice.model_copy(update={"tried": told})


def _tried(rate: float, curve: Sequence[float] | None, points: Sequence[int]) -> Tried:
    """The best of one rate."""
    finite = [] if curve is None else [(e, s) for e, s in zip(curve, points, strict=True)]
    finite = [each for each in finite if math.isfinite(each[0])]
    if not finite:
        return Tried(rate=rate, steps=None, error=None)
    error, steps = min(finite)
    return Tried(rate=rate, steps=steps, error=error)


def judged(
    record: ModelRecord, choice: Chosen | None, recipe: Recipe, why_none: str
) -> ModelRecord:
    """The record of a re-trained model with what can be said of its convergence.

    recipe: with its own rate and steps; why_none: why nothing was chosen, where that is so.
    """
    travel = record.metrics["travel"] or 0.0
    if recipe.last < recipe.steps:  # of what all steps would allow, not those that were taken
        worth = passed(recipe.schedule, recipe.last, recipe.steps)
        travel *= worth / passed(recipe.schedule, recipe.steps, recipe.steps)
    doubts = []
    if travel > FAR:
        doubts.append(
            f"max |Δθ| is {travel:.2f} of what its steps allow: raise transfer.steps or the rates"
        )
    converged, notes = (0.0 if doubts else None), [why_none]
    if choice is not None:
        doubts += _still_falls(choice) + _wants_larger_rate(choice)
        lost = [f"not finite at rate {each.rate:g}" for each in choice.tried if each.error is None]
        converged, notes = float(not doubts), [*lost, *_astray(choice), *_no_step(choice)]
    words = ": ".join(filter(None, [CONVERGED[converged], "; ".join([*doubts, *notes])]))
    numbers = {"steps": recipe.last, "rate": recipe.rate, "travel": travel, "converged": converged}
    metrics = {**record.metrics, **numbers}
    told = {"metrics": metrics, "convergence": words, "choice": choice}
    return record.model_copy(update=told)


def _astray(choice: Chosen) -> list[str]:
    return [
        f"at rate {each.rate:g} the training on all samples went astray: it ended at an error of "
        f"{each.astray:.2f}, held out {each.error:.2f}"
        for each in choice.tried
        if each.astray is not None and each.error is not None
    ]


def _no_step(choice: Chosen) -> list[str]:
    if choice.steps:
        return []
    return ["no step lowers the held-out error: nothing was re-trained"]


def _still_falls(choice: Chosen) -> list[str]:
    points, curve = choice.points, choice.curve
    ends = choice.steps and choice.error >= curve[-1] * (1.0 - SAME)
    before = [e for step, e in zip(points, curve, strict=True) if step <= 0.75 * points[-1]][-1]
    fall = 1.0 - curve[-1] / before if before > 0.0 else 0.0
    if not ends or not fall > FALLS:
        return []
    return [
        f"the held-out error still fell by {100 * fall:.0f} % over the last quarter of the steps: "
        "raise transfer.steps"
    ]


def _wants_larger_rate(choice: Chosen) -> list[str]:
    tried = sorted(choice.tried, key=lambda each: each.rate)
    if len(tried) < 2 or not choice.steps or choice.rate != tried[-1].rate:
        return []
    largest, before = tried[-1].error, tried[-2].error
    if largest is None or (before is not None and largest >= before * (1.0 - GAINS)):
        return []
    return [f"best at the largest rate, {choice.rate:g}: widen transfer.rates"]
