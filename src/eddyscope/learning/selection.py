"""Which models a case asks for, and how they are called. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from eddyscope.artefacts.key import ModelKey
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Adaptation
from eddyscope.learning.adaptations.layers import Layers
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.choice import count_of_folds
from eddyscope.learning.settings import TransferSettings

__all__ = ["adaptations_of", "check_numbers", "check_transfer", "trainings_of", "transfer_models"]


def adaptations_of(transfer: TransferSettings, layers: Sequence[str]) -> list[Adaptation]:
    """What is compared, in a fixed order: layers, then controls, each once.

    layers: names of the network's.
    """
    named = [transfer.layers] if isinstance(transfer.layers, str) else transfer.layers
    chosen = [Layers.Settings(layers=list(part)) for n in named for part in _meant(n, layers)]
    built = [ADAPTATIONS.build(settings) for settings in [*chosen, *transfer.controls]]
    return list({adaptation.text: adaptation for adaptation in built}.values())


def _meant(text: str, layers: Sequence[str]) -> list[tuple[str, ...]]:
    """The lists of layers that an entry of `transfer.layers` stands for."""
    if text == "each":
        return [(name,) for name in layers]
    if text == "pairs":
        return list(combinations(layers, 2))
    ends = {"first": layers[0], "last": layers[-1]}
    return [ModelKey("+".join(ends.get(part, part) for part in text.split("+"))).layers]


def check_transfer(transfer: TransferSettings, layers: Sequence[str]) -> None:
    """Raise CaseError unless a network with these layers can be adapted as the case says."""
    count_of_folds(transfer.samples, transfer.folds)
    for adaptation in adaptations_of(transfer, layers):
        try:
            adaptation.check(layers)
        except CaseError as error:
            raise CaseError(f"transfer asks for {adaptation.text!r}, but {error}") from None
        # raises if it is too long for a file
        ModelKey(adaptation.text, recipe="matched", seed=transfer.seeds)


def check_numbers(
    adaptations: Iterable[Adaptation],
    sizes: Callable[[], Mapping[str, int]],
    samples: int,
    of_base: Callable[[str, str, int], int],
) -> None:
    """Raise CaseError unless there is as much as they ask for: of weights, of the base's samples.

    sizes: numbers to train by layer; samples: of the target; of_base: called with the system, what
    asks and how many.
    """
    for adaptation in adaptations:
        adaptation.check_sizes(sizes)
        if count := adaptation.base_samples(samples):
            of_base("base", f"transfer.controls: base samples of {adaptation.text}", count)


def transfer_models(
    transfer: TransferSettings, layers: Sequence[str]
) -> dict[ModelKey, Adaptation]:
    """Every model to be made from the base model: all adaptations, in every repeat by every recipe.

    What has no random part and takes no steps is made once. The recipe is named where there are
    several, but for "chosen".
    """
    adaptations = adaptations_of(transfer, layers)
    several = len(transfer.recipes) > 1
    named = [recipe if several and recipe != "chosen" else None for recipe in transfer.recipes]
    return {
        ModelKey(adaptation.text, recipe=recipe, seed=repeat): adaptation
        for recipe in named
        for repeat in range(transfer.seeds)
        for adaptation in adaptations
        if adaptation.is_trained or (repeat == 0 and recipe == named[0])
    }


@dataclass(frozen=True)
class Trainings:
    """The trainings of a case: what its plan says of them."""

    count: int
    """In all, those that choose rates and steps among them."""
    words: list[str]
    """How rates and steps are chosen; nothing where they are not."""


def trainings_of(transfer: TransferSettings, models: Mapping[ModelKey, Adaptation]) -> Trainings:
    """The trainings that these models take."""
    trained = [key for key, adaptation in models.items() if adaptation.is_trained]
    chosen = sum((key.recipe or transfer.recipes[0]) == "chosen" for key in trained)
    folds, rates = count_of_folds(transfer.samples, transfer.folds), transfer.grid
    count = len(trained) + len(rates) * folds * chosen
    if not chosen:
        return Trainings(count, [])
    if not folds:
        return Trainings(count, ["choice: none, for nothing can be held out of one sample"])
    told = (
        f"choice of rate and steps: {len(rates) * folds} trainings ahead of each of {chosen} "
        f"models (rates {', '.join(f'{rate:g}' for rate in rates)}; {folds} fold(s))"
    )
    return Trainings(count, [told])
