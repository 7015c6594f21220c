"""Which models a case asks for, and how they are called. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from eddyscope.artefacts.key import ModelKey
from eddyscope.config.errors import CaseError
from eddyscope.learning.adaptations.base import Adaptation
from eddyscope.learning.adaptations.layers import Layers
from eddyscope.learning.adaptations.registry import ADAPTATIONS
from eddyscope.learning.settings import TransferSettings

__all__ = ["adaptations_of", "check_transfer", "transfer_models"]


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
    for adaptation in adaptations_of(transfer, layers):
        try:
            adaptation.check(layers)
        except CaseError as error:
            raise CaseError(f"transfer asks for {adaptation.text!r}, but {error}") from None
        ModelKey(adaptation.text, seed=transfer.seeds)  # raises if it is too long for a file


def transfer_models(
    transfer: TransferSettings, layers: Sequence[str]
) -> dict[ModelKey, Adaptation]:
    """Every model to be made from the base model: all adaptations, each in every repeat.

    What has no random part is made once.
    """
    adaptations = adaptations_of(transfer, layers)
    return {
        ModelKey(adaptation.text, seed=repeat): adaptation
        for repeat in range(transfer.seeds)
        for adaptation in adaptations
        if repeat == 0 or adaptation.is_trained
    }
